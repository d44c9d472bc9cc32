"""Which slot a machine is sent to through."""

from ipaddress import IPv6Address

import pytest

from hawser.netd.wireguard.paths import BEST, SPARE, Evidence, Path, choose, in_use, paths

pytestmark = pytest.mark.pure
NOW = 1e9
FRESH, STALE = NOW - 100, NOW - 200
THERE = IPv6Address("fd68:6177:7267::1")


@pytest.mark.parametrize(
    ("handshakes", "current", "slot"),
    [
        ((FRESH, FRESH), 0, 1),  # both work: the epoch's
        ((FRESH, FRESH), None, 1),
        ((FRESH, 0.0), 0, 0),  # the epoch's has no handshake with the new keys yet
        ((FRESH, STALE), 1, 0),  # a way that no longer works is left
        ((STALE, STALE), 0, 0),  # nothing works: nothing changes
        ((0.0, 0.0), None, 1),
        ((0.0, None), None, 0),
        ((None, 0.0), 0, 1),  # the slot is no more
        ((None, None), 0, None),
        ((FRESH, NOW + 500), 0, 1),  # the clock was set back
    ],
)
def test_traffic_moves_where_a_handshake_was_seen(
    handshakes: tuple[float | None, float | None], current: int | None, slot: int | None
) -> None:
    assert choose(Evidence(handshakes=handshakes, current=current), preferred=1, now=NOW) == slot


def test_the_other_slot_stays_behind() -> None:
    found = paths({THERE: Evidence(handshakes=(FRESH, 0.0))}, preferred=1, now=NOW)
    assert found == {Path(THERE, 0, BEST), Path(THERE, 1, SPARE)}
    assert BEST < SPARE


def test_a_slot_is_in_use_while_somebody_is_reached_through_it() -> None:
    through = {THERE: Evidence(handshakes=(FRESH, STALE), current=0)}
    assert in_use(through, 0, NOW)
    assert not in_use(through, 1, NOW)
    assert not in_use({THERE: Evidence(handshakes=(STALE, FRESH), current=0)}, 0, NOW)
