"""Members of a tarball that climb, or cannot exist, are refused."""

import pytest

from hawser.runtime.images.members import clean, problem


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
