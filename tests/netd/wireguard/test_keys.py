"""Keys of one machine: what they are, when they change, and that no change meets traffic."""

import itertools
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from hawser.netd.errors import Invalid
from hawser.netd.wireguard.keys import Keys, decode, key_of, new_keys, public_of, read_keys, spread_of

pytestmark = pytest.mark.pure
PERIOD = 1000.0
SEEDS = (bytes(range(32)), bytes(range(32, 64)))


def keys(now: float, machine: str = "a") -> Keys:
    return new_keys(machine, now, SEEDS, PERIOD)


def test_both_sides_of_two_keys_come_to_the_same_secret() -> None:
    first, second = (key_of(seed, 0) for seed in SEEDS)
    secrets = [
        X25519PrivateKey.from_private_bytes(decode(own.private)).exchange(
            X25519PublicKey.from_public_bytes(decode(public_of(other.private)))
        )
        for own, other in ((first, second), (second, first))
    ]
    assert secrets[0] == secrets[1]


def test_a_private_key_is_clamped_as_wg_does() -> None:
    octets = decode(key_of(b"\xff" * 32, 0).private)
    assert (octets[0], octets[31]) == (0xF8, 0x7F)


def test_a_private_key_is_never_printed() -> None:
    made = keys(0.0)
    assert not any(key.private in repr(made) for key in made.slots)


@pytest.mark.parametrize("text", ["", "x", "é", "A" * 43 + "=", b64encode(bytes(31)).decode(), "A" * 44, "=" * 44])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="not a WireGuard key"):
        decode(text)


def test_first_keys_are_not_due() -> None:
    for now in (0.5, 100.0, 999.0, 1001.0, 1700000123.4):
        made = keys(now)
        assert made.due(now) is None
        assert made.deadline(now) > now


def test_only_the_key_of_the_epochs_slot_changes() -> None:
    made = keys(500.0)
    later = made.rotate(1200.0, bytes(31) + b"\1")
    assert later.slots[0] == made.slots[0]
    assert later.slots[1].private != made.slots[1].private
    assert later.due(1200.0) is None
    assert later.rotate(1201.0, bytes(31) + b"\2") == later


def test_a_change_that_was_missed_waits_for_the_slots_next_epoch() -> None:
    made = keys(500.0)
    assert made.due(1600.0) is None  # traffic may be in slot 1 by now
    assert made.due(2200.0) == 0
    assert made.due(3200.0) == 1


@given(st.floats(0, 2e9), st.text("abc", min_size=1))
def test_a_key_is_only_due_while_traffic_is_in_the_other_slot(now: float, machine: str) -> None:
    made = keys(0.0, machine)
    slot = made.due(now)
    if slot is not None:
        assert made.preferred(now) == 1 - slot
        assert made.preferred(now - PERIOD / 4) == 1 - slot or made.preferred(now + PERIOD / 8) == 1 - slot


@given(st.floats(0, 2e9))
def test_the_deadline_is_ahead_and_within_a_period(now: float) -> None:
    made = keys(now)
    assert now < made.deadline(now) <= now + PERIOD


def test_from_deadline_to_deadline_every_epoch_changes_one_key_in_turn() -> None:
    now, made = 100.0, keys(100.0)
    changed: list[int] = []
    for number in itertools.count():
        now = made.deadline(now)
        if now > 20 * PERIOD:
            break
        slot = made.due(now)
        if slot is not None:
            changed.append(slot)
            made = made.rotate(now, bytes([number + 1]) * 32)
    assert changed[:4] == [1, 0, 1, 0]
    assert len(changed) == 20 - 1 + (made.spread == 0)


def test_a_clock_set_back_changes_a_key_at_most_once_an_epoch() -> None:
    made = keys(1e6)
    slot = made.due(200.0)
    assert slot == 0
    assert made.rotate(200.0, b"\5" * 32).due(201.0) is None


def test_machines_spread_their_changes() -> None:
    spreads = {round(spread_of(f"m{number}"), 1) for number in range(200)}
    assert len(spreads) > 8
    assert all(0 <= spread <= 1 for spread in spreads)


def test_what_is_written_is_read() -> None:
    made = keys(12345.0)
    assert read_keys(made.written(), "a", PERIOD) == made


@pytest.mark.parametrize("text", ["", "0 x\n1 y\n", "0\n1\n", "a b\n", "0 " + "A" * 44 + "\n", "1 2 3\n4 5 6\n"])
def test_a_damaged_file_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_keys(text, "a", PERIOD)
    assert not text.strip() or text.strip() not in str(caught.value)


@pytest.mark.parametrize("period", [0, -1, 0.5, float("nan")])
def test_no_period_makes_no_sense(period: float) -> None:
    with pytest.raises(Invalid, match="cannot change every"):
        new_keys("a", 0, SEEDS, period)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(Invalid, match="32 random bytes"):
        key_of(b"short", 0)
