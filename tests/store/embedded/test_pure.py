"""The parts without a clock or a disk: sorted keys, bounds, leases, drafts."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from hawser.store import Invalid, NotFound, PutOp, TxnOp
from hawser.store.embedded.draft import Draft
from hawser.store.embedded.keys import CHUNK, SortedKeys
from hawser.store.embedded.keyspace import Keyspace, bounds, upper_bound
from hawser.store.embedded.leases import RETRY, Leases

KEYS = st.binary(max_size=4) | st.lists(st.sampled_from([b"\0", b"a", b"b", b"\xfe", b"\xff"]), max_size=4).map(
    b"".join
)


@given(prefix=KEYS, key=KEYS)
def test_the_upper_bound_of_a_prefix_ends_exactly_what_begins_with_it(prefix: bytes, key: bytes) -> None:
    high = upper_bound(prefix)
    inside = key >= prefix and (high is None or key < high)
    assert inside == key.startswith(prefix)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((b"a",), (b"a", b"a\0")),
        ((b"a", b"c"), (b"a", b"c")),
        ((b"a", b"\0"), (b"a", None)),
        ((b"a", None, True), (b"a", b"b")),
        ((b"", None, True), (b"", None)),
        ((b"a\xff", None, True), (b"a\xff", b"b")),
        ((b"\xff\xff", None, True), (b"\xff\xff", None)),
    ],
)
def test_bounds(arguments: tuple[bytes, ...], expected: tuple[bytes, bytes | None]) -> None:
    assert bounds(*arguments) == expected  # type: ignore[arg-type]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans())), KEYS, KEYS)
def test_sorted_keys_are_a_sorted_set(operations: list[tuple[int, bool]], low: bytes, high: bytes) -> None:
    keys, model = SortedKeys(), set[bytes]()
    for number, add in operations:
        key = bytes((48 + number,))
        if add and key not in model:
            keys.add(key)
            model.add(key)
        elif not add and key in model:
            keys.remove(key)
            model.remove(key)
    assert list(keys.between(b"", None)) == sorted(model)
    assert list(keys.between(low, high)) == sorted(key for key in model if low <= key < high)
    assert keys.count(low, high) == sum(low <= key < high for key in model)


def test_sorted_keys_split_and_shrink_at_any_size() -> None:
    numbers = [(number * 7919) % 10_007 for number in range(10_007)]
    keys = SortedKeys(b"%05d" % number for number in numbers[: 2 * CHUNK])
    for number in numbers[2 * CHUNK :]:
        keys.add(b"%05d" % number)
    assert list(keys.between(b"", None)) == [b"%05d" % number for number in range(10_007)]
    assert list(keys.between(b"03000", b"07000")) == [b"%05d" % number for number in range(3000, 7000)]
    for number in numbers[:-1]:
        keys.remove(b"%05d" % number)
    assert list(keys.between(b"", None)) == [b"%05d" % numbers[-1]]


def test_a_lease_is_due_at_its_time_and_again_until_it_ends() -> None:
    leases = Leases({7: 10.0}, now=100.0)
    assert (leases.deadline(), leases.due(109.9)) == (110.0, [])
    assert leases.due(110.0) == [7]
    assert (leases.deadline(), leases.due(110.0)) == (110.0 + RETRY, [])
    assert leases.due(110.0 + RETRY) == [7]
    leases.end(7)
    assert leases.due(200.0) == []
    assert leases.deadline() is None


def test_a_renewed_lease_is_due_later() -> None:
    leases = Leases({}, now=0.0)
    leases.begin(1, 10.0, now=0.0)
    assert leases.renew(1, now=9.0) == 10.0
    assert leases.due(10.0) == []
    assert leases.deadline() == 19.0
    assert leases.due(19.0) == [1]


def test_a_lease_past_its_time_cannot_be_renewed_while_its_end_is_on_the_way() -> None:
    leases = Leases({1: 10.0}, now=0.0)
    with pytest.raises(NotFound):
        leases.renew(1, now=10.0)
    with pytest.raises(NotFound):
        leases.renew(2, now=0.0)
    assert leases.due(10.0) == [1]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 20)), max_size=20))
def test_every_lease_is_due_exactly_when_its_last_renewal_says(renewals: list[tuple[int, int]]) -> None:
    leases = Leases(dict.fromkeys(range(1, 6), 30.0), now=0.0)
    until, now = dict.fromkeys(range(1, 6), 30.0), 0.0
    for lease, step in sorted(renewals, key=lambda renewal: renewal[1]):
        now = max(now, float(step))
        leases.renew(lease, now)
        until[lease] = now + 30.0
    for earlier, later in pairwise([0.0, *sorted(set(until.values()))]):
        due = leases.due(later)
        for lease in due:
            leases.end(lease)
        assert due == sorted(lease for lease, end in until.items() if earlier < end <= later)


def test_a_dropped_draft_leaves_no_trace() -> None:
    keys = Keyspace()
    draft = Draft(keys)
    draft.grant(1, 5.0)
    draft.txn(TxnOp(then=[PutOp(b"a", b"1", lease=1), PutOp(b"b", b"2")]))
    assert (keys.revision, keys.items, keys.leases) == (1, {}, {})
    assert list(keys.order.between(b"", None)) == []


def test_an_invalid_request_leaves_its_draft_as_it_was() -> None:
    draft = Draft(Keyspace())
    draft.put(PutOp(b"a", b"1"))
    for ops in ([PutOp(b"b", b""), PutOp(b"c", b"", lease=9)], [PutOp(b"b", b""), PutOp(b"b", b"")]):
        with pytest.raises((Invalid, NotFound)):
            draft.txn(TxnOp(then=ops))
    draft.merge()
    assert list(draft.base.items) == [b"a"]
    assert draft.base.revision == 2
