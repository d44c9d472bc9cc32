"""What intervals of keys cover."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from hawser.store.auth.spans import Spans, span

KEYS = st.sampled_from([b"a", b"a\0", b"b", b"c", b"d", b"e"])
ENDS = st.one_of(st.just(b""), st.just(b"\0"), KEYS)


def spans(*parts: tuple[bytes, bytes]) -> Spans:
    return Spans(span(key, end) for key, end in parts)


@pytest.mark.parametrize(
    ("parts", "asked", "covered"),
    [
        ([], (b"a", b""), False),
        ([(b"a", b"")], (b"a", b""), True),
        ([(b"a", b"")], (b"a\0", b""), False),
        ([(b"a", b"")], (b"a", b"a\0"), True),
        ([(b"a", b"")], (b"a", b"b"), False),
        ([(b"a", b"c")], (b"b", b""), True),
        ([(b"a", b"c")], (b"c", b""), False),
        ([(b"a", b"c")], (b"a", b"c"), True),
        ([(b"a", b"c")], (b"a", b"\0"), False),
        ([(b"a", b"\0")], (b"b", b"\0"), True),
        ([(b"b", b"\0")], (b"a", b"\0"), False),
        ([(b"a", b"c"), (b"c", b"e")], (b"b", b"d"), True),
        ([(b"a", b"c"), (b"b", b"e")], (b"a", b"e"), True),
        ([(b"a", b"b"), (b"c", b"e")], (b"a", b"e"), False),
        ([(b"a", b"e"), (b"b", b"c")], (b"d", b"e"), True),
        ([(b"a", b""), (b"a\0", b"b")], (b"a", b"b"), True),
        ([(b"a", b"c"), (b"c", b"\0")], (b"a", b"\0"), True),
        ([(b"\0", b"\0")], (b"\xff\xff", b"\0"), True),
        ([(b"z", b"a")], (b"z", b""), False),
        ([(b"", b"z")], (b"b", b""), False),
        ([(b"", b"\0")], (b"b", b""), False),
        ([(b"a", b"\0")], (b"", b""), False),
        ([(b"b", b"c")], (b"b", b"a"), True),
        ([(b"a", b"b")], (b"b", b"a"), False),
    ],
)
def test_covers(parts: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes], covered: bool) -> None:
    assert spans(*parts).covers(*asked) is covered


ALL = (b"a", b"a\0", b"a\0\0", b"b", b"b\0", b"c", b"c\0", b"d", b"d\0", b"e", b"e\0", b"f")
"""A key in every gap that KEYS leave."""


@settings(max_examples=100)
@given(parts=st.lists(st.tuples(KEYS, ENDS), max_size=5), key=KEYS, end=ENDS)
def test_a_range_is_covered_when_each_key_of_it_is(parts: list[tuple[bytes, bytes]], key: bytes, end: bytes) -> None:
    def within(one: bytes, low: bytes, high: bytes | None) -> bool:
        return one >= low and (high is None or one < high)

    low, high = span(key, end)
    asked = [one for one in ALL if within(one, low, high)] or [key]
    each = all(any(within(one, *span(*part)) for part in parts) for one in asked)
    assert spans(*parts).covers(key, end) is each
