"""Copies of a whole store: taken while it is written, restored into a directory that has none.

A copy is made by SQLite within one read transaction (`VACUUM INTO`): exact as of one revision, without holes, beside
the writer. It is a file without a name in the store's directory while it is handed out, and gone with who reads it. As
with etcd a snapshot file is the database and then the SHA-256 of it.
"""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from io import BufferedRandom
from pathlib import Path

from ...errors import Conflict, Corrupt, Unavailable
from ..keyspace import FIRST_REVISION
from ..upkeep import Snapshot
from . import reading
from .directory import sync
from .schema import NAME, check_format

CHUNK = 1 << 16
PREFIX = "snapshot-"
HASH = hashlib.sha256().digest_size


@contextlib.asynccontextmanager
async def taken(file: Path) -> AsyncIterator[Snapshot]:
    """A copy of the store in `file`. Unavailable when there is no room for it."""
    try:
        copy, revision = await asyncio.to_thread(_copy, file)
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"store: no snapshot of {file}: {error}; it needs as much space again there") from error
    with copy:
        yield Snapshot(revision=revision, size=os.fstat(copy.fileno()).st_size, chunks=_chunks(copy))


def restore(file: Path, directory: Path) -> int:
    """Make the store in `directory` from a snapshot file; returns its revision. Everything is checked before the store
    is there, whole and durable. Corrupt when the file is not what was taken, Conflict when the directory has a store,
    Unavailable when the disk refuses. Blocks."""
    target = directory / NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any((directory / name).exists() for name in (NAME, f"{NAME}-wal")):
            raise Conflict(f"{directory} has a store already; restore into another directory, or move it away")
        with _new(directory) as copy:
            _copy_checked(file, copy)
            revision = _revision(copy)
            os.link(copy, target)
        sync(directory)
    except FileExistsError:
        raise Conflict(f"{directory} has a store already; restore into another directory, or move it away") from None
    except sqlite3.Error as error:
        raise Corrupt(f"{file} is no snapshot of a store ({error}); nothing was restored") from error
    except OSError as error:
        raise Unavailable(f"cannot restore {file} into {directory}: {error.strerror}; nothing was restored") from error
    return revision


def _copy(file: Path) -> tuple[BufferedRandom, int]:
    with _new(file.parent) as name:
        with contextlib.closing(reading.connect(file)) as database:
            database.execute("VACUUM INTO ?", (str(name),))
        revision = _revision(name)
        return name.open("r+b"), revision


def sweep(directory: Path) -> None:
    """Remove what was left when a process was killed that made a copy; only who holds the directory may."""
    for left in directory.glob(f"{PREFIX}*"):
        left.unlink()


async def _chunks(copy: BufferedRandom) -> AsyncIterator[bytes]:
    digest = hashlib.sha256()
    while chunk := await asyncio.to_thread(copy.read, CHUNK):
        digest.update(chunk)
        yield chunk
    yield digest.digest()


def _copy_checked(file: Path, copy: Path) -> None:
    """Copy what comes before the hash. Corrupt unless it is what was hashed."""
    digest, left = hashlib.sha256(), file.stat().st_size - HASH
    with file.open("rb") as source, copy.open("wb") as target:
        while left > 0 and (chunk := source.read(min(CHUNK, left))):
            digest.update(chunk)
            target.write(chunk)
            left -= len(chunk)
        if left or source.read() != digest.digest():
            raise Corrupt(f"{file} is no snapshot, or not all of it: its hash does not match; take another one")
        target.flush()
        os.fsync(target.fileno())


def _revision(file: Path) -> int:
    """The revision of a store that nobody writes. Corrupt, sqlite3.Error."""
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)) as database:
        check_format(database, file)
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Corrupt(f"{file} is damaged ({verdict.splitlines()[-1]}); take another snapshot")
        (last,) = database.execute("SELECT max(revision) FROM changes").fetchone()
        (compacted,) = database.execute("SELECT revision FROM compacted").fetchone()
    return int(max(last or FIRST_REVISION, compacted))


@contextlib.contextmanager
def _new(directory: Path) -> Iterator[Path]:
    """A file of any name that is gone afterwards."""
    descriptor, name = tempfile.mkstemp(prefix=PREFIX, dir=directory)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        os.unlink(name)
