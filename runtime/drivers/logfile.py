"""Reading a container's log while its shim writes and rotates it."""

import asyncio
import collections
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from .. import logformat
from ..model import LogLine

BLOCK = 1 << 18
INTERVAL = 0.05


class _Joiner:
    """Records to lines: pieces of a long line come together again."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[bytes]] = {}
        self._torn = b""

    def feed(self, data: bytes) -> Iterator[LogLine]:
        records = (self._torn + data).split(b"\n")
        self._torn = records.pop()
        for record in records:
            decoded = logformat.decode(record)
            if decoded is None:
                continue
            time, stream, full, text = decoded
            pieces = self._pieces.setdefault(stream, [])
            pieces.append(text)
            if full:
                yield LogLine(time, stream, b"".join(pieces).decode(errors="backslashreplace"))
                pieces.clear()


async def lines(
    place: Path, *, follow: bool, tail: int | None, ended: Callable[[], bool], interval: float = INTERVAL
) -> AsyncIterator[LogLine]:
    """The lines of the log in `place`, of its last `tail` ones; with `follow`, new ones until `ended()`.

    What is no UTF-8 shows as backslash escapes.
    """
    joiner = _Joiner()
    fd = _open(place / "log")
    try:
        if tail is None:
            for block in _past(place, fd):
                for line in joiner.feed(block):
                    yield line
                await asyncio.sleep(0)  # the loop is others' too
        else:
            for line in await asyncio.to_thread(_last, place, os.dup(fd) if fd is not None else None, joiner, tail):
                yield line
        while follow:
            last = ended()
            if fd is None:
                fd = _open(place / "log")
            data = os.read(fd, BLOCK) if fd is not None else b""
            for line in joiner.feed(data):
                yield line
            if data:
                continue
            if fd is not None and _rotated(place / "log", fd):
                os.close(fd)
                fd = None
            elif last:
                return
            else:
                await asyncio.sleep(interval)
    finally:
        if fd is not None:
            os.close(fd)


def _past(place: Path, fd: int | None) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), open(place / "log.1", "rb") as old:
        while block := old.read(BLOCK):
            yield block
    while fd is not None and (block := os.read(fd, BLOCK)):
        yield block


def _last(place: Path, fd: int | None, joiner: _Joiner, count: int) -> collections.deque[LogLine]:
    """The last lines of what is there; closes `fd`, for the caller may be gone before this ends."""
    try:
        every = (line for block in _past(place, fd) for line in joiner.feed(block))
        return collections.deque(every, maxlen=max(count, 0))
    finally:
        if fd is not None:
            os.close(fd)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _rotated(path: Path, fd: int) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return False
