"""Every error class of every package says what it means to a caller."""

import inspect

import pytest

from hawser.faults import EXIT, HTTP, Fault, exit_code_of, kind_of
from hawser.mesh import errors as mesh
from hawser.netd import errors as netd
from hawser.runtime import errors as runtime
from hawser.sched import errors as sched
from hawser.store import errors as store


@pytest.mark.parametrize("module", [mesh, netd, runtime, sched, store])
def test_every_error_class_has_a_known_kind(module: object) -> None:
    classes = [value for _, value in inspect.getmembers(module, inspect.isclass) if issubclass(value, Exception)]
    assert classes
    assert {getattr(kind, "kind", None) for kind in classes} <= set(EXIT)


def test_exit_codes_and_statuses_are_the_documented_ones() -> None:
    assert EXIT == {"failed": 1, "usage": 2, "not-found": 3, "conflict": 4, "unavailable": 5, "denied": 6}
    assert HTTP.keys() == EXIT.keys()


def test_an_error_nobody_foresaw_has_no_kind() -> None:
    assert kind_of(ValueError("x")) is None
    assert Fault("x", "no such kind").exit_code == 1


def test_an_exit_code_of_its_own_wins() -> None:
    assert exit_code_of(Fault("no such program", "usage", 127)) == 127
    assert exit_code_of(Fault("no such option", "usage")) == 2
    assert exit_code_of(ValueError("x")) == 1
