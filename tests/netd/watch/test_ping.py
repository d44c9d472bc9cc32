"""A full mesh asks everybody from everywhere, and ends in time."""

import time
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from hawser.netd.errors import Invalid, NetError
from hawser.netd.watch.drivers.ping import probe
from hawser.netd.watch.matrix import matrix
from tests.netd.machines import ping
from tests.netd.yard import Yard, yard
from tests.wait import until

pytestmark = pytest.mark.root

NAMES = ("c1", "c2", "c3")


@pytest.fixture
def place(rundir: Path) -> Iterator[Yard]:
    """All have met: what is measured is not who looks for whom the first time."""
    with yard(rundir) as found:
        for number, path in enumerate(found.sandboxes, 1):
            for other in {1, 2, 3} - {number}:
                until(partial(ping, path, f"fd09::{other}", timeout=0.3), what="a first answer")
        yield found


def paths(place: Yard) -> dict[str, Path]:
    return dict(zip(NAMES, place.sandboxes, strict=True))


@pytest.mark.parametrize("form", ["10.9.0.{}", "fd09::{}"])
def test_everybody_hears_everybody(place: Yard, form: str) -> None:
    targets = {name: ip_address(form.format(number)) for number, name in enumerate(NAMES, 1)}
    found = matrix(probe(paths(place), targets, count=3, interval=0.02))
    assert set(found.cells) == {(a, b) for a in NAMES for b in NAMES if a != b}
    assert (found.sent, found.received) == (18, 18)
    assert all(cell.median is not None and 0 < cell.median < 0.5 for cell in found.cells.values())


def test_both_versions_at_once(place: Yard) -> None:
    targets = {"four": ip_address("10.9.0.1"), "six": ip_address("fd09::1")}
    assert matrix(probe(paths(place), targets, count=1)).received == 6


def test_who_does_not_answer_is_lost_and_holds_nobody_up(place: Yard) -> None:
    targets = {
        "c2": ip_address("10.9.0.2"),
        "nobody": ip_address("10.9.0.99"),
        "nowhere": ip_address("192.0.2.1"),
        "no6": ip_address("2001:db8::1"),
    }
    begin = time.monotonic()
    found = matrix(probe(paths(place), targets, count=2, interval=0.05, timeout=0.3))
    assert time.monotonic() - begin < 1.5
    assert found.cells["c1", "c2"].received == 2
    assert {found.cells["c1", name].received for name in ("nobody", "nowhere", "no6")} == {0}


def test_some_answers_lost_are_some_losses(place: Yard) -> None:
    place.place.nft.run(
        "table bridge late {\nchain c {\ntype filter hook forward priority 0;\n"
        "icmp type echo-request limit rate over 1/second burst 1 packets drop\n}\n}\n"
    )
    found = matrix(probe({"c1": place.sandbox(1)}, {"c2": ip_address("10.9.0.2")}, count=4, interval=0, timeout=0.2))
    assert 0 < found.received < found.sent == 4


def test_what_cannot_be_asked_is_refused(place: Yard) -> None:
    target = {"c2": ip_address("10.9.0.2")}
    for wrong in ({"count": 0}, {"timeout": 0.0}, {"interval": -1.0}, {"timeout": 61.0}):
        with pytest.raises(Invalid, match=r"ping .* times"):
            probe(paths(place), target, **wrong)
    with pytest.raises(Invalid, match="at most 65536"):
        probe(paths(place), target, count=30_000)
    with pytest.raises(NetError, match="No such file"):
        probe({"gone": place.tenant.with_name("gone")}, target)
