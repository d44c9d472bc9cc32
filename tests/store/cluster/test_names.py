"""Endpoints, addresses, ids: what is taken, and what is said of the rest."""

import pytest

from hawser.store import Invalid
from hawser.store.cluster import names


@pytest.mark.parametrize("text", ["10.0.0.1:1", "[fd00::1]:65535", "a:80", "a-b.example:443", "9a.example:1"])
def test_endpoints(text: str) -> None:
    assert names.endpoint_problem(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", ":80", "a:", "a:0", "a:65536", "a:999999", "10.0.0:1", "10.0.0.256:1", "fd00::1:80", "[10.0.0.1:1"),
        *("[fd00::g]:1", "https://a:1", "a_b:1", "-a:1", "a:1 ", "a..b:1", "A:1", "a" * 64 + ":1", "a:1\n"),
    ],
)
def test_no_endpoints(text: str) -> None:
    problem = names.endpoint_problem(text)
    assert problem is not None
    assert problem.startswith(f"endpoint {text!r}: ")


def test_every_problem_is_in_one_refusal() -> None:
    names.refuse("x", [None, None])
    with pytest.raises(Invalid, match="x: a; b"):
        names.refuse("x", ["a", None, "b"])
