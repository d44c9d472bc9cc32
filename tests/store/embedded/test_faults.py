"""The directory that cannot be used, the disk that is full, the file that is damaged: one clear line each."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.store import Conflict, Corrupt, PutOp, SqliteStore, StoreError, Unavailable

from .test_durability import ROOT, victim


async def refusal(directory: Path) -> StoreError:
    """Why the store does not open; asked twice, for a refusal must not hold the directory."""
    with pytest.raises(StoreError):
        await SqliteStore.open(directory)
    with pytest.raises(StoreError) as caught:
        await SqliteStore.open(directory)
    assert "\n" not in str(caught.value)
    return caught.value


async def filled(directory: Path) -> Path:
    """A closed store of some hundred keys; its file."""
    store = await SqliteStore.open(directory)
    await asyncio.gather(*(store.put(f"key/{number:04}", bytes(100)) for number in range(500)))
    await store.close()
    return directory / "store.db"


async def test_a_second_process_is_told_who_has_the_directory(rundir: Path) -> None:
    with victim(rundir) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        refused = await refusal(rundir)
        assert isinstance(refused, Conflict)
        assert f"process {holder.pid};" in str(refused)
        holder.kill()
    store = await SqliteStore.open(rundir)
    with pytest.raises(Conflict, match=f"process {os.getpid()};"):
        await SqliteStore.open(rundir)
    await store.close()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(rundir: Path) -> None:
    (rundir / "store.db").write_bytes(b"my thesis, the only copy" * 100)
    refused = await refusal(rundir)
    assert isinstance(refused, Corrupt)
    assert str(rundir / "store.db") in str(refused)
    assert f"restore a snapshot: hawser kv snapshot restore FILE --data-dir {rundir}" in str(refused)
    assert (rundir / "store.db").read_bytes() == b"my thesis, the only copy" * 100


@pytest.mark.parametrize("page", [1, 2, 5, 9])
async def test_a_damaged_page_is_refused(rundir: Path, page: int) -> None:
    file = await filled(rundir)
    with file.open("r+b") as raw:
        raw.seek(page * 4096)
        raw.write(os.urandom(4096))
    refused = await refusal(rundir)
    assert isinstance(refused, Corrupt)
    assert "damaged" in str(refused)


async def test_damage_that_reading_would_not_meet_is_found(rundir: Path) -> None:
    file = await filled(rundir)
    with file.open("r+b") as raw:
        raw.seek(36)
        raw.write((99).to_bytes(4, "big"))
    refused = await refusal(rundir)
    assert isinstance(refused, Corrupt)
    assert "damaged" in str(refused)


async def test_a_key_that_is_no_text_is_damage(rundir: Path) -> None:
    file = await filled(rundir)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE changes SET key=CAST(x'ff' AS TEXT) WHERE revision=7")
    database.close()
    assert isinstance(await refusal(rundir), Corrupt)


async def test_a_shortened_database_is_refused(rundir: Path) -> None:
    file = await filled(rundir)
    os.truncate(file, 4096 * 3)
    assert isinstance(await refusal(rundir), Corrupt)


async def test_another_programs_database_is_refused_and_left_alone(rundir: Path) -> None:
    with sqlite3.connect(rundir / "store.db") as database:
        database.execute("CREATE TABLE changes(theirs)")
    database.close()
    refused = await refusal(rundir)
    assert isinstance(refused, Corrupt)
    assert "another program" in str(refused)


async def test_a_later_format_is_refused(rundir: Path) -> None:
    file = await filled(rundir)
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    refused = await refusal(rundir)
    assert isinstance(refused, Corrupt)
    assert "format 99" in str(refused)


async def test_a_path_that_is_a_file_is_refused(rundir: Path) -> None:
    (rundir / "file").touch()
    for directory in (rundir / "file", rundir / "file" / "below", rundir / ("x" * 300)):
        assert isinstance(await refusal(directory), Unavailable)


@pytest.mark.root
def test_without_rights_it_says_so(rundir: Path) -> None:
    # the checkout may be where only root can read: everything is loaded before the rights go
    code = (
        "import asyncio, os, pathlib, sys; import tests.store.embedded.victim as victim; os.setuid(65534);"
        "asyncio.run(victim.main(pathlib.Path(sys.argv[1]), 0, '', 0))"
    )
    command = [sys.executable, "-c", code, str(rundir / "store")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input="")
    assert done.stdout.startswith("unavailable: store in")
    assert "Permission denied; check" in done.stdout


@pytest.fixture
def disk(rundir: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    place = rundir / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "none", str(place))
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def occupy(disk: Path, leave: int) -> Path:
    """Take all the disk's space but `leave` bytes; delete the file to give it back."""
    room = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - leave))
    return ballast


@pytest.mark.root
async def test_a_read_only_disk_is_refused(disk: Path) -> None:
    await filled(disk / "store")
    mount("-o", "remount,ro", str(disk))
    refused = await refusal(disk / "store")
    assert isinstance(refused, Unavailable)
    assert "ead-only" in str(refused)


@pytest.mark.root
async def test_a_full_disk_takes_nothing_keeps_everything_and_recovers(disk: Path) -> None:
    store = await SqliteStore.open(disk / "store")
    lease = await store.lease_grant(60)
    kept, refused = dict[str, bytes](), list[str]()

    async def write(key: str) -> None:
        value = os.urandom(2000)
        try:
            await store.txn([], [PutOp(f"{key}/1", value, lease=lease.id), PutOp(f"{key}/2", value)])
        except Unavailable as error:
            refused.append(str(error))
        else:
            kept[f"{key}/1"] = kept[f"{key}/2"] = value

    async def same() -> bool:
        return {entry.key: entry.value for entry in (await store.range("", prefix=True)).kvs} == kept

    for cycle in range(3):
        ballast, before = occupy(disk, leave=60_000), len(refused)
        for batch in range(20):
            await asyncio.gather(*(write(f"{cycle}/{batch}/{nth}") for nth in range(5)))
        assert len(refused) > before
        assert await same()
        ballast.unlink()
        await write(f"{cycle}/after")
        assert f"{cycle}/after/1" in kept, "works again once there is space"
    assert await same()
    assert all("full" in reason and "try again" in reason for reason in refused)
    await store.close()
    store = await SqliteStore.open(disk / "store")
    assert await same()
    await store.lease_revoke(lease.id)
    assert len((await store.range("", prefix=True)).kvs) == len(kept) // 2
    await store.close()


@pytest.mark.root
async def test_a_full_disk_delays_a_leases_end_and_does_not_lose_it(disk: Path) -> None:
    store = await SqliteStore.open(disk / "store")
    lease = await store.lease_grant(0.1)
    await store.put("a", b"", lease=lease.id)
    ballast = occupy(disk, leave=0)
    with pytest.raises(Unavailable, match="full"):
        await store.put("b", os.urandom(100_000))
    revision = (await store.range("", prefix=True)).revision
    async with store.watch("a", from_revision=revision + 1) as batches:
        ballast.unlink()
        async with asyncio.timeout(5):
            assert (await anext(batches)).events[0].kv.version == 0
    await store.close()


@pytest.mark.root
async def test_a_full_disk_is_refused_at_opening_and_leaves_nothing_half_made(disk: Path) -> None:
    ballast = occupy(disk, leave=0)
    assert isinstance(await refusal(disk / "store"), Unavailable)
    ballast.unlink()
    store = await SqliteStore.open(disk / "store")
    assert await store.put("a", b"1") == 2
    await store.close()
