"""Interests: whoever wants a key is found by it, and nobody else."""

import hypothesis.strategies as st
from hypothesis import given, settings

from hawser.store.embedded.interest import Interest, Interests
from hawser.store.embedded.keyspace import upper_bound

KEYS = st.lists(st.sampled_from([b"\0", b"a", b"b", b"\xff"]), max_size=3).map(b"".join)
RANGES = (
    KEYS.map(lambda key: (key, key + b"\0"))
    | KEYS.map(lambda key: (key, upper_bound(key)))
    | st.tuples(KEYS, KEYS | st.none())
)


@settings(max_examples=100)
@given(ranges=st.lists(RANGES, max_size=8), leaving=st.sets(st.integers(0, 7)), key=KEYS)
def test_who_wants_a_key_is_found(ranges: list[tuple[bytes, bytes | None]], leaving: set[int], key: bytes) -> None:
    interests, joined = Interests[int](), dict[int, Interest[int]]()
    for nth, (low, high) in enumerate(ranges):
        joined[nth] = interests.join(nth, low, high, frozenset())
    for nth in leaving & joined.keys():
        interests.leave(nth, joined[nth])
        interests.leave(nth, joined[nth])
    found = [member for wanted in interests.at(key) for member in sorted(wanted.members)]
    assert sorted(found) == [
        nth
        for nth, (low, high) in enumerate(ranges)
        if nth not in leaving and low <= key and (high is None or key < high)
    ]


def test_the_same_range_is_one_interest() -> None:
    interests = Interests[int]()
    one, two = (interests.join(member, b"a", b"b", frozenset()) for member in range(2))
    assert one is two
    assert [wanted.members for wanted in interests.at(b"ab")] == [{0, 1}]
