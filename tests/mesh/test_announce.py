"""The lease of an announcement: granted, renewed at a third, granted again after a loss, patient with a store away."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.mesh.announce import RETRY_MAX, LeaseHold, Want


def test_a_lease_is_granted_then_renewed_every_third_of_its_ttl() -> None:
    hold = LeaseHold(ttl=15)
    assert hold.want(0) is Want.GRANT
    hold.granted(7, 1)
    assert (hold.lease, hold.deadline()) == (7, 6)
    assert hold.want(5.9) is Want.NOTHING
    assert hold.want(6) is Want.RENEW
    hold.renewed(6)
    assert hold.deadline() == 11


def test_a_lost_lease_is_granted_again_at_once() -> None:
    hold = LeaseHold(ttl=15)
    hold.granted(7, 0)
    hold.lost(2)
    assert hold.want(2) is Want.GRANT


def test_a_failure_is_tried_again_later_and_later_but_well_within_the_ttl() -> None:
    hold = LeaseHold(ttl=3)
    hold.granted(7, 0)
    delays = []
    for _ in range(6):
        hold.failed(10)
        assert hold.want(10) is Want.NOTHING
        delays.append(hold.deadline() - 10)
    assert [round(delay, 3) for delay in delays] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert hold.want(11) is Want.RENEW


@given(st.lists(st.sampled_from(["ok", "lost", "failed"]), max_size=40), st.floats(1, 100))
@settings(max_examples=60)
def test_whatever_happened_it_wants_something_again_in_time(story: list[str], ttl: float) -> None:
    hold, now = LeaseHold(ttl=ttl), 0.0
    for chapter in story:
        now = max(now, hold.deadline())
        want = hold.want(now)
        assert want is (Want.GRANT if hold.lease is None else Want.RENEW)
        if chapter == "failed":
            hold.failed(now)
            assert hold.deadline() - now <= min(RETRY_MAX, ttl / 3) + 1e-6
        elif want is Want.GRANT:
            hold.granted(1, now)
        elif chapter == "lost":
            hold.lost(now)
        else:
            hold.renewed(now)
        assert hold.deadline() - now <= ttl / 3 + 1e-6
