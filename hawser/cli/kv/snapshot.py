"""`kv snapshot`: save, restore, status. A file is a database followed by its SHA-256, as etcdctl's are; whose database
it is (a store's of hawser, or etcd's own) its first bytes say."""

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ...faults import Fault
from ..common import as_json, show_json
from .group import Nouns, Verb
from .progress import Bar
from .where import open_kv, run

if TYPE_CHECKING:
    from hawser.store.etcd.client import Snapshot

HASH = hashlib.sha256().digest_size
CHUNK = 1 << 20
SQLITE = b"SQLite format 3\0"
BOLT = bytes.fromhex("edda0ced")  # the magic number of bbolt's first page, 16 bytes in, as it is on little-endian disks
PRIVATE = 0o600


@click.group(cls=Nouns)
def snapshot() -> None:
    """Snapshots of the whole store."""


@snapshot.command(cls=Verb)
@as_json
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def save(file: Path, json_: bool) -> int:
    """Save a snapshot to FILE; what is there is replaced once all of it has come, and its hash is right."""

    async def work() -> int:
        from hawser.store.etcd.client import Upkeep

        part = file.with_name(f"{file.name}.part")
        async with open_kv() as store, Upkeep(store.calls).snapshot() as taken:
            try:
                size, digest = await _receive(taken, part)
                _put_in_place(part, file)
            except OSError as error:
                raise Fault(f"cannot write {file}: {error.strerror}; nothing was saved") from None
            finally:
                part.unlink(missing_ok=True)
        if json_:
            show_json({"file": str(file), "size": size, "sha256": digest})
        else:
            click.echo(f"saved {file}: {size} bytes, sha256 {digest}")
        return 0

    return run(work())


async def _receive(taken: "Snapshot", part: Path) -> tuple[int, str]:
    """Write all of it, durably; returns its size and the hash of the database. Fault when the hash is wrong."""
    whole, bar, done, tail = hashlib.sha256(), Bar(), 0, b""
    with _new(part) as target:
        async for chunk in taken.parts:
            target.write(chunk)
            held = tail + chunk
            whole.update(held[:-HASH])
            tail = held[-HASH:]
            done += len(chunk)
            bar.show("snapshot", done, max(taken.total, done))
        bar.end()
        target.flush()
        os.fsync(target.fileno())
    if whole.digest() != tail:
        raise Fault("the snapshot came damaged: its hash does not match; nothing was saved, take it again")
    return done, whole.hexdigest()


def _new(file: Path) -> BinaryIO:
    return open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE), "wb")


def _put_in_place(part: Path, file: Path) -> None:
    """Durably."""
    os.replace(part, file)
    descriptor = os.open(file.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def kind(file: Path) -> str:
    """Whose database a file is: "hawser" or "etcd". Fault."""
    with file.open("rb") as source:
        head = source.read(32)
    if head.startswith(SQLITE):
        return "hawser"
    if head[16:20] == BOLT:
        return "etcd"
    raise Fault(f"{file} is no snapshot, neither of a store of hawser nor of etcd; take one: hawser kv snapshot save")


def checked(file: Path) -> tuple[int, str]:
    """A file's size and the hash that it was saved with. Fault when it does not match."""
    whole, left = hashlib.sha256(), file.stat().st_size - HASH
    size = left + HASH
    with file.open("rb") as source:
        while left > 0 and (chunk := source.read(min(CHUNK, left))):
            whole.update(chunk)
            left -= len(chunk)
        if left or source.read() != whole.digest():
            raise Fault(f"{file} is damaged, or not all of a snapshot: its hash does not match; take another one")
    return size, whole.hexdigest()


@snapshot.command(cls=click.Command)
@as_json
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def status(file: Path, json_: bool) -> int:
    """What is in FILE: whose it is, size, hash; of a store of hawser also the revision and the number of keys."""
    known: dict[str, Any] = {"file": str(file), "of": kind(file)}
    size, digest = checked(file)
    known |= {"size": size, "sha256": digest}
    if known["of"] == "hawser":
        with tempfile.TemporaryDirectory(prefix=".snapshot-", dir=file.absolute().parent) as name:
            known |= asyncio.run(_opened(file, Path(name)))
    if json_:
        show_json(known)
    else:
        for name, value in known.items():
            click.echo(f"{name:>8}: {value}")
    return 0


async def _opened(file: Path, directory: Path) -> dict[str, int]:
    """What the store in a snapshot says of itself, restored in a directory for the purpose."""
    from hawser.store.embedded.drivers.snapshot import restore as restore_file
    from hawser.store.embedded.drivers.sqlite import SqliteEngine

    await asyncio.to_thread(restore_file, file, directory)
    engine = await SqliteEngine.open(directory, keep=None)
    try:
        keys = (await engine.digest()).count
        return {"revision": engine.revision, "keys": keys, "hash": (await engine.hash())[0]}
    finally:
        await engine.close()


@snapshot.command(cls=click.Command)
@click.option("--data-dir", required=True, type=click.Path(file_okay=False, path_type=Path), help="Must have no store.")
@as_json
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path, data_dir: Path, json_: bool) -> int:
    """Make a store in a directory from FILE, for kv serve --data-dir or a node's data directory (its store/).

    A snapshot of etcd's own is restored by etcdctl; its keys move with kv migrate.
    """
    if kind(file) == "etcd":
        wrong = f"{file} is of etcd's own; restore it: etcdctl snapshot restore {file} --data-dir {data_dir}"
        raise Fault(wrong, "usage")
    from hawser.store.embedded.drivers.snapshot import restore as restore_file

    revision = restore_file(file, data_dir)
    if json_:
        show_json({"data_dir": str(data_dir), "revision": revision})
    else:
        click.echo(f"restored {data_dir} at revision {revision}")
    return 0
