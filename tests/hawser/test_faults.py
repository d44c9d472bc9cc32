"""Every error class of every package says what it means to a caller."""

import inspect

import pytest

from hawser.faults import EXIT, HTTP, Fault, kind_of
from hawser.mesh import errors as mesh
from hawser.netd import errors as netd
from hawser.runtime import errors as runtime
from hawser.sched import errors as sched
from hawser.store import errors as store


@pytest.mark.parametrize("module", [mesh, netd, runtime, sched, store])
def test_every_error_class_has_a_known_kind(module: object) -> None:
    classes = [value for _, value in inspect.getmembers(module, inspect.isclass) if issubclass(value, Exception)]
    assert classes
    assert {kind_of(kind("why")) for kind in classes if kind.__module__ == module.__name__} <= set(EXIT)  # type: ignore[attr-defined]


def test_exit_codes_and_statuses_are_the_documented_ones() -> None:
    assert EXIT == {"failed": 1, "usage": 2, "not-found": 3, "conflict": 4, "unavailable": 5, "denied": 6}
    assert HTTP.keys() == EXIT.keys()


def test_an_error_nobody_foresaw_has_no_kind() -> None:
    assert kind_of(ValueError("x")) is None
    assert Fault("x", "no such kind").exit_code == 1
