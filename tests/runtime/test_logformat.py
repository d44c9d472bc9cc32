"""Any output becomes records that give it back."""

import hypothesis.strategies as st
from hypothesis import given, settings

from hawser.runtime.logformat import PIECE, Splitter, decode, encode

TIME = "2026-01-01T00:00:00.000000000Z"


def test_a_record_reads_as_it_was_written() -> None:
    record = encode(TIME, "stderr", b"a b\xff", full=True)
    assert record == b"2026-01-01T00:00:00.000000000Z stderr F a b\xff\n"
    assert decode(record) == (TIME, "stderr", True, b"a b\xff")


def test_what_is_no_record_is_none() -> None:
    assert [decode(line) for line in (b"", b"torn", b"t stdout X y", b"t other F y")] == [None] * 4


def test_a_line_waits_for_its_end() -> None:
    splitter = Splitter("stdout")
    assert splitter.feed(b"hel", TIME) == b""
    assert splitter.feed(b"lo\nrest", TIME) == encode(TIME, "stdout", b"hello", full=True)
    assert splitter.end(TIME) == encode(TIME, "stdout", b"rest", full=True)
    assert splitter.end(TIME) == b""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=50) | st.integers(1, 3 * PIECE).map(lambda n: b"x" * n), max_size=6))
def test_nothing_is_lost_and_no_record_is_long(chunks: list[bytes]) -> None:
    splitter = Splitter("stdout")
    out = b"".join(splitter.feed(chunk, TIME) for chunk in chunks) + splitter.end(TIME)
    records = [decode(line) for line in out.split(b"\n")[:-1]]
    text = b"".join(text + (b"\n" if full else b"") for _, _, full, text in filter(None, records))
    assert None not in records
    assert text.removesuffix(b"\n") == b"".join(chunks).removesuffix(b"\n")
    assert all(len(record[3]) <= PIECE for record in records if record)
