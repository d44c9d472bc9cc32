"""Whatever a program has left in its directories can be removed."""

import os
from pathlib import Path

import pytest

from hawser.runtime.drivers.removal import remove_tree


def nest(top: Path, depth: int, name: str = "d") -> None:
    """Directories within each other, deeper than any path may be, each with a file and a link."""
    place = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
        os.close(os.open("file", os.O_CREAT, dir_fd=place))
        os.symlink("/etc", "link", dir_fd=place)
    os.close(place)


def test_a_tree_deeper_than_a_recursion_or_a_path_goes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    nest(tree, 3000, "a" * 100)
    remove_tree(tree)
    assert list(tmp_path.iterdir()) == []


def test_a_wide_tree_goes_with_names_like_its_own(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(50):
        (tree / f".gone-{number}" / f".gone-{number}" / "x").mkdir(parents=True)
        (tree / f".gone-{number}" / "file").write_text("x")
    remove_tree(tree)
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    tree = tmp_path / "tree"
    (tree / "in").mkdir(parents=True)
    for place in (tree, tree / "in"):
        (place / "link").symlink_to(tmp_path / "kept")
    os.mkfifo(tree / "fifo")
    remove_tree(tree)
    assert (tmp_path / "kept" / "file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_is_gone_needs_no_removal_and_a_link_is_no_tree(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(OSError, match="link"):
        remove_tree(tmp_path / "link")
