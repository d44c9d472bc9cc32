"""Compressed headers: RFC 7541's own examples, and what a broken client may send."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.store.etcd.server.hpack import STATIC, Decoder, HeadersTooLarge, HpackError, encode

# appendix C.4: three requests with Huffman's code on one connection
REQUESTS = (
    ("828684418cf1e3c2e5f23a6ba0ab90f4ff", ()),
    ("828684be5886a8eb10649cbf", (("cache-control", "no-cache"),)),
    ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", (("custom-key", "custom-value"),)),
)
FIRST = ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com"))


def test_the_static_table() -> None:
    assert len(STATIC) == 61
    assert (STATIC[1], STATIC[15], STATIC[60]) == (
        (":method", "GET"),
        ("accept-encoding", "gzip, deflate"),
        ("www-authenticate", ""),
    )


def test_requests_on_one_connection() -> None:
    decoder = Decoder()
    first, second, third = (decoder.decode(bytes.fromhex(block)) for block, _ in REQUESTS)
    assert first == FIRST
    assert second == (*FIRST, ("cache-control", "no-cache"))
    assert third[1:] == (
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    )


def test_a_block_means_what_the_table_says_now() -> None:
    decoder = Decoder()
    decoder.decode(bytes.fromhex("4001610131"))
    assert decoder.decode(b"\xbe") == decoder.decode(b"\xbe") == (("a", "1"),)
    decoder.decode(bytes.fromhex("4001620132"))
    assert decoder.decode(b"\xbe") == (("b", "2"),)
    assert decoder.decode(b"\xbf") == (("a", "1"),)
    assert decoder.decode(b"\x20") == ()
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe")


def test_the_oldest_entries_go_when_the_table_is_full() -> None:
    decoder = Decoder()
    for letter in (b"a", b"b"):
        decoder.decode(b"\x40\x01" + letter + b"\x7f\xd1\x0f" + bytes(2000 + 128))
    assert decoder.decode(b"\xbe")[0][0] == "b"
    with pytest.raises(HpackError):
        decoder.decode(b"\xbf")


@pytest.mark.parametrize(
    "block",
    [
        "80",  # entry 0
        "c0",  # an entry that is not there
        "41",  # ends too early
        "000561",
        "7fffffffffffffffff",  # a number without end
        "3fe2ff7f",  # a larger table than allowed
        "008100",  # a name that is no code
        "0081ff00",  # padding that is no end
    ],
)
def test_nonsense_ends_it(block: str) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(bytes.fromhex(block))


FIELDS = st.lists(st.tuples(st.text("abc-:", min_size=1, max_size=300), st.text("xyz 0/é", max_size=300)), max_size=6)


@settings(max_examples=50, deadline=None)
@given(FIELDS)
def test_what_is_encoded_is_decoded(fields: list[tuple[str, str]]) -> None:
    assert list(Decoder().decode(encode(fields))) == fields


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_of_anything_comes_headers_or_an_error(blocks: list[bytes]) -> None:
    decoder = Decoder(1000)
    with contextlib.suppress(HpackError):
        for block in blocks:
            assert sum(len(name) + len(value) + 32 for name, value in decoder.decode(block)) <= 1000


def test_few_bytes_may_not_mean_many() -> None:
    decoder = Decoder(10_000)
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000)
    assert len(decoder.decode(b"\xbe\xbe")) == 2
    with pytest.raises(HeadersTooLarge):
        decoder.decode(b"\xbe\xbe\xbe")


def test_only_short_blocks_are_remembered() -> None:
    decoder = Decoder(1 << 20)
    for number in range(1000):
        decoder.decode(b"\x00\x01a\x7f\x81\x03" + number.to_bytes(2) + bytes(510))
        decoder.decode(b"\x00\x01a\x02" + number.to_bytes(2))
    assert len(decoder._known) <= 64


def test_the_table_changes_its_size_at_a_beginning_only() -> None:
    decoder = Decoder()
    assert decoder.decode(b"\x20\x3f\xe1\x1f\x82") == ((":method", "GET"),)
    with pytest.raises(HpackError):
        decoder.decode(b"\x82\x20")
