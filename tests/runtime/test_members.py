"""Members of a tarball that climb, or cannot exist, are refused."""

import pytest

from hawser.runtime.images.members import clean, owner_problem, problem


@pytest.mark.parametrize("name", ["usr/bin/env", "./etc", "a/./b", "...", "..a", "x" * 255])
def test_plain_names_pass(name: str) -> None:
    assert problem(name) is None


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("/etc/passwd", "absolute"),
        ("../etc", "climbs"),
        ("a/../../etc", "climbs"),
        ("a/..", "climbs"),
        ("x" * 256, "longer than 255"),
        ("a/" * 2100, "impossible"),
        ("a\0b", "impossible"),
    ],
)
def test_bad_names_are_refused(name: str, word: str) -> None:
    assert word in (problem(name) or "")


def test_hard_links_must_stay_inside_and_symbolic_links_need_not() -> None:
    assert "climbs" in (problem("a", "../b", hardlink=True) or "")
    assert "absolute" in (problem("a", "/b", hardlink=True) or "")
    assert problem("a", "../../etc/passwd") is None


def test_clean_is_relative_to_the_root() -> None:
    assert (clean("./usr//bin/"), clean("./"), clean("a")) == ("usr/bin", "", "a")


@pytest.mark.parametrize(("uid", "gid"), [(-100_000, 0), (0, -100_000), (65536, 0), (0, 2**32 - 100_000)])
def test_an_owner_that_would_be_somebody_of_the_machine_is_refused(uid: int, gid: int) -> None:
    assert "ids go from 0 to 65535" in (owner_problem("a", uid, gid) or "")
    assert owner_problem("a", 65535, 0) is None
