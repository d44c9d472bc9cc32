"""JSON objects in a row, in whatever pieces they come."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.store.etcd.errors import EtcdError
from hawser.store.etcd.server.limits import MAX_BODY, MAX_DEPTH
from hawser.store.etcd.server.objects import Objects, parse

VALUES = st.recursive(
    st.none() | st.integers() | st.text('a"\\{}[]é', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\{', max_size=3), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=4)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.booleans(), st.sampled_from(["", " ", "\n\n"]), st.integers(1, 7))
def test_every_object_comes_out_whole(rows: list[Any], ascii_only: bool, between: str, size: int) -> None:
    data = between.join(json.dumps(row, ensure_ascii=ascii_only) for row in rows).encode()
    objects, found = Objects(), list[object]()
    for at in range(0, len(data), size):
        found += map(parse, objects.feed(data[at : at + size]))
    objects.end()
    assert found == rows


def read(body: bytes) -> list[object]:
    objects = Objects()
    found = [parse(text) for text in objects.feed(body)]
    objects.end()
    return found


@pytest.mark.parametrize(
    "body", [b"{", b'{"a', b"nonsense", b"123", b'"text"', b"}", b"]", b"{}x", b'{"a\\', b"\0", b"\xff"]
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(EtcdError, match="JSON"):
        read(body)


@pytest.mark.parametrize("text", [b"{]", b"[}", b'{"a":}', b"{a:1}", b'{"a":' + b"9" * 5000 + b"}"])
def test_nonsense_between_brackets_is_refused(text: bytes) -> None:
    with pytest.raises(EtcdError, match="JSON"):
        parse(text)


def test_neither_too_deep_nor_too_long() -> None:
    with pytest.raises(EtcdError, match="deep"):
        list(Objects().feed(b'{"a":' * (MAX_DEPTH + 1)))
    with pytest.raises(EtcdError, match="too large"):
        list(Objects().feed(b'{"a":"' + bytes(MAX_BODY)))
