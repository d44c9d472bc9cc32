"""How long a server bears with a client that asks for nothing."""

import pytest

from hawser.store.etcd.server.frames import CALM, ProtocolError
from hawser.store.etcd.server.limits import BURST, EARNED, PER_SECOND, Patience


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_so_many_a_second() -> None:
    clock = Clock()
    patience = Patience(clock)
    for _ in range(BURST):
        patience.spend()
    clock.now = 2.0
    for _ in range(2 * PER_SECOND):
        patience.spend()
    with pytest.raises(ProtocolError) as refused:
        patience.spend()
    assert refused.value.code == CALM


def test_time_saves_no_more_than_another_burst() -> None:
    clock = Clock()
    patience = Patience(clock)
    clock.now = 1e6
    for _ in range(2 * BURST + 1):
        patience.spend()
    with pytest.raises(ProtocolError):
        patience.spend()


def test_who_asks_for_something_may_go_on() -> None:
    patience = Patience(Clock())
    for _ in range(BURST):
        for _ in range(EARNED):
            patience.spend()
        patience.earn()
    patience.spend(BURST - EARNED)
