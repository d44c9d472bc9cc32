"""Removal of directories that a container has filled: of any depth, and whatever the length of their paths.

A program may nest directories deeper than a recursion, a path or a table of open files goes. So nothing is descended
into: what lies in a directory of the tree is moved up to the top, under a name that is new there, until the directory
is empty. Every directory is moved once, with two descriptors open. Links are never followed.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it; nothing when it is gone. OSError for what the kernel keeps."""
    try:
        top = os.open(path, FOLDER)
    except FileNotFoundError:
        return
    try:
        fresh = (name for number in count() if not _exists(top, name := f".gone-{number}"))
        while folders := _emptied(top):
            for name in folders:
                _flatten(top, name, fresh)
    finally:
        os.close(top)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


def _flatten(top: int, name: str, fresh: Iterator[str]) -> None:
    """Move the directories of a directory up, and remove it."""
    with contextlib.suppress(FileNotFoundError):
        if not _removed(top, name):
            inner = os.open(name, FOLDER, dir_fd=top)
            try:
                for folder in _emptied(inner):
                    if not _removed(inner, folder):
                        os.rename(folder, next(fresh), src_dir_fd=inner, dst_dir_fd=top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _emptied(place: int) -> list[str]:
    """Unlink everything of a directory but its directories; returns those."""
    with os.scandir(place) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
    return [name for name, is_folder in found if is_folder]


def _removed(place: int, name: str) -> bool:
    """Remove a directory if it is empty."""
    try:
        os.rmdir(name, dir_fd=place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _exists(place: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=place)
    except FileNotFoundError:
        return False
    return True
