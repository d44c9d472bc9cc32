"""How bytes are written, what a command is told of an event, and how far something is."""

import io
from contextlib import redirect_stderr

import pytest

from hawser.cli.kv.progress import Bar
from hawser.cli.kv.watch import FITS, environment, quoted
from hawser.cli.kv.words import as_hex, document
from hawser.store import Event, EventKind, KeyValue


def test_text_and_bytes() -> None:
    assert (document("é".encode()), document(b"\xff\0")) == ("é", {"base64": "/wA="})
    assert as_hex(b"a\0") == rb"\x61\x00"


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"a b", '"a b"'), (b'"\\\n', r'"\"\\\n"'), (b"\0\x7f\xff", r'"\x00\x7f\xff"'), ("é😀".encode(), '"é😀"')],
)
def test_quotes_as_in_go(data: bytes, text: str) -> None:
    assert quoted(data).decode() == text


def test_what_the_environment_cannot_hold_is_left_out() -> None:
    def told(key: bytes, value: bytes) -> set[bytes]:
        kv = KeyValue(key=key, value=value, create_revision=2, mod_revision=2, version=1)
        found = environment(Event(kind=EventKind.PUT, kv=kv))
        assert all(b"\0" not in text for text in found.values())
        return {name for name in found if name.startswith((b"HAWSER_KEY", b"HAWSER_VALUE", b"ETCD_WATCH_VALUE"))}

    assert told(b"k", b"v") == {b"HAWSER_KEY", b"HAWSER_VALUE", b"ETCD_WATCH_VALUE"}
    assert told(b"k\0", b"v\0") == {b"ETCD_WATCH_VALUE"}
    assert told(b"k", b"v" * (FITS + 1)) == {b"HAWSER_KEY"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_at_a_terminal() -> None:
    with redirect_stderr(Terminal()) as terminal:
        bar = Bar()
        for phase, done in (("copy", 0), ("copy", 5), ("copy", 10), ("verify", 10)):
            bar.show(phase, done, 10)
        bar.end()
    first, *_, last = terminal.getvalue().split("\r")[1:]
    assert first.strip() == f"copy [{'.' * 30}] 0/10"
    assert last == f"  verify [{'#' * 30}] 10/10\n"
