"""Counters are the port's: what it is sent is received."""

from pathlib import Path

import pytest

from hawser.netd.drivers import netns
from hawser.netd.watch.drivers import counters
from hawser.netd.watch.stats import Counters
from tests.netd.yard import say, yard
from tests.wait import until

pytestmark = pytest.mark.root


def test_bytes_are_counted_as_the_port_sees_them(rundir: Path) -> None:
    with yard(rundir, 2) as place:

        def read(name: str) -> Counters:
            return netns.inside_here(place.tenant, lambda: counters.read([name]))[name]

        before, there = read("h1"), read("h2")
        for _ in range(5):
            say(place.sandbox(1), "10.9.0.2", bytes(10_000))
        until(lambda: read("h1").transmit_bytes - before.transmit_bytes >= 50_000, what="what was sent")
        until(lambda: read("h2").receive_bytes - there.receive_bytes >= 50_000, what="what was received")
        assert read("h1").receive_bytes - before.receive_bytes < 10_000
        assert read("h2").receive_packets > there.receive_packets
        assert netns.inside_here(place.tenant, lambda: counters.read(["h9"])) == {}
