"""Where etcd is, and which endpoint is next."""

import pytest

from hawser.store import Invalid
from hawser.store.etcd.client.endpoints import Endpoint, Roster, parse

A, B, C = parse("http://a:1,http://b:2,http://c:3")


@pytest.mark.parametrize(
    ("given", "secure", "urls"),
    [
        ("http://h:1", False, ["http://h:1"]),
        ("https://h", False, ["https://h:2379"]),
        ("h:1, g:2,", False, ["http://h:1", "http://g:2"]),
        ("h", True, ["https://h:2379"]),
        ("etcd://h:1,g:2", False, ["http://h:1", "http://g:2"]),
        ("etcd://h:1", True, ["https://h:1"]),
        ("http://h:1/", False, ["http://h:1"]),
        (["http://h:1", "http://h:1"], False, ["http://h:1"]),
        ("http://[::1]:5", False, ["http://[::1]:5"]),
        ("unix:///run/e.sock", False, ["unix:///run/e.sock"]),
    ],
)
def test_endpoints_are_read(given: str | list[str], secure: bool, urls: list[str]) -> None:
    assert [each.url for each in parse(given, secure=secure)] == urls


def test_an_endpoint_has_its_parts() -> None:
    assert parse("https://h:5") == (Endpoint(url="https://h:5", host="h", port=5, secure=True),)
    assert parse("unix:///run/e.sock") == (Endpoint(url="unix:///run/e.sock", path="/run/e.sock"),)
    assert parse("[::1]:5")[0].netloc == "[::1]:5"


@pytest.mark.parametrize("wrong", ["", ",", [], "ftp://h:1", "http://", "http://h:port", "http://h:1/path", "unix://"])
def test_what_is_no_endpoint_is_refused(wrong: str | list[str]) -> None:
    with pytest.raises(Invalid, match="endpoint"):
        parse(wrong)


def test_the_first_is_drawn_and_kept_while_it_works() -> None:
    for chance, first in ((0.0, A), (0.5, B), (0.99, C)):
        roster = Roster((A, B, C), lambda chance=chance: chance)  # type: ignore[misc]
        for now in range(3):
            assert roster.pick(now) == (first, 0.0)
            roster.worked(first)


def test_one_that_failed_rests_and_the_next_one_is_used() -> None:
    roster = Roster((A, B), lambda: 0.0)
    roster.failed(A, 0.0, "refused")
    assert roster.pick(0.0) == (B, 0.0)
    roster.worked(B)
    assert roster.pick(9.0) == (B, 0.0), "it stays with the one that works"
    roster.failed(B, 9.0, "silent")
    assert roster.pick(9.0) == (A, 0.0)


def test_when_all_rest_the_first_that_has_rested_is_waited_for() -> None:
    roster = Roster((A, B), lambda: 0.0)
    roster.failed(A, 0.0, "refused")
    roster.failed(B, 0.01, "refused")
    endpoint, rest = roster.pick(0.01)
    assert endpoint == A
    assert rest == pytest.approx(0.015)
    assert roster.pick(0.03) == (A, 0.0)


def test_rests_grow_to_a_second_and_chance_shortens_them_by_half_at_most() -> None:
    for chance, rests in ((0.0, [0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5]), (1.0, [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])):
        roster, seen = Roster((A,), lambda chance=chance: chance * 0.999), []  # type: ignore[misc]
        for _ in rests:
            roster.failed(A, 0.0, "refused")
            seen.append(roster.pick(0.0)[1])
        assert seen == pytest.approx(rests, rel=0.01)
    roster.worked(A)
    assert roster.pick(0.0) == (A, 0.0)


def test_the_story_names_every_endpoint_and_what_was_wrong_with_it() -> None:
    roster = Roster((A, B), lambda: 0.0)
    roster.failed(A, 0.0, "refused", final=True)
    assert roster.story() == "http://a:1 (refused), http://b:2"
    assert not roster.hopeless()
    roster.failed(B, 0.0, "its certificate is not accepted", final=True)
    assert roster.hopeless()
    roster.worked(B)
    assert not roster.hopeless()


def test_an_endpoint_that_is_none_any_more_is_let_go() -> None:
    roster = Roster((A,), lambda: 0.0)
    roster.worked(B)
    roster.failed(B, 0.0, "refused")
    assert roster.pick(0.0) == (A, 0.0)
