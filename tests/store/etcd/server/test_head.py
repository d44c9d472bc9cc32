"""What a call's headers say. The rules that they may break are in test_rules.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.store.etcd.server.head import read

GOOD = ((":method", "POST"), (":scheme", "http"), (":path", "/x"))


def test_what_grpc_reads() -> None:
    said = read((*GOOD, ("content-type", "application/grpc+proto"), ("grpc-encoding", "gzip"), ("token", "t")))
    assert (said.flaw, said.path, said.method, said.grpc) == (None, "/x", "POST", True)
    assert (said.encoding, said.token, said.timeout, said.length) == ("gzip", "t", None, None)
    assert read((*GOOD, ("authorization", "a"), ("token", "t"))).token == "t"
    assert read((*GOOD, ("authorization", "a"))).token == "a"


def test_what_is_said_twice_counts_once() -> None:
    assert read((*GOOD, ("token", "first"), ("token", "second"))).token == "first"


@pytest.mark.parametrize(
    ("text", "seconds"), [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("07S", 7)]
)
def test_how_long_a_client_waits(text: str, seconds: float) -> None:
    assert read((*GOOD, ("grpc-timeout", text))).timeout == pytest.approx(seconds)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=6))
def test_anything_is_read(fields: list[tuple[str, str]]) -> None:
    said = read(tuple(fields))
    assert said.size >= 32 * len(fields)
    assert said.flaw is not None
