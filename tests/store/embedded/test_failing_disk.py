"""A disk that fails under a writing store: what was refused may be there, what was acknowledged is, and nothing is read
or written until the log was opened anew."""

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hawser.store import Corrupt, NotFound, SqliteStore, Store, StoreError, Unavailable
from hawser.store.embedded.drivers import schema

from ..watching import take, told

UNKNOWN, NOTHING = "the outcome of this is unknown", "nothing of this was kept"


class Disk:
    """A fault at a statement: `name` is SQLite's, `late` when the statement takes effect nevertheless. While `gone`
    nothing can be opened."""

    def __init__(self) -> None:
        self.statement, self.name, self.late, self.gone = "", "", False, False

    def fail(self, statement: str, name: str, *, late: bool = False, gone: bool = False) -> None:
        """The next such statement fails, once."""
        self.statement, self.name, self.late, self.gone = statement, name, late, gone

    def connect(self, uri: str) -> sqlite3.Connection:
        if self.gone:
            raise fault("SQLITE_CANTOPEN")
        return schema.connect(uri, factory=lambda *given, **how: Connection(self, *given, **how))


class Connection(sqlite3.Connection):
    """The log's, on a `Disk`."""

    def __init__(self, disk: Disk, *given: Any, **how: Any) -> None:
        super().__init__(*given, **how)
        self._disk = disk

    def execute(self, sql: str, /, *values: Any) -> sqlite3.Cursor:
        disk = self._disk
        if not disk.statement or not sql.startswith(disk.statement):
            return super().execute(sql, *values)
        disk.statement = ""
        if disk.late:
            super().execute(sql, *values)
        raise fault(disk.name)


def fault(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    return error


@pytest.fixture
def disk() -> Disk:
    return Disk()


async def works(store: Store) -> None:
    """Wait until the store answers again."""
    async with asyncio.timeout(10):
        while True:
            with suppress(Unavailable):
                await store.range("", prefix=True)
                return
            await asyncio.sleep(0.01)


async def refused(store: Store, key: str = "doubt") -> StoreError:
    with pytest.raises(StoreError) as caught:
        await store.put(key, b"?")
    return caught.value


@pytest.mark.parametrize("late", [False, True])
async def test_a_commit_that_fails_is_in_doubt_until_the_log_is_read_again(
    rundir: Path, disk: Disk, late: bool
) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    await store.put("kept", b"1")
    async with store.watch("", prefix=True) as batches:
        disk.fail("COMMIT", "SQLITE_IOERR_FSYNC", late=late)
        error = await refused(store)
        assert isinstance(error, Unavailable)
        assert UNKNOWN in str(error)
        await works(store)
        assert (await store.get("doubt") is not None) is late
        await store.put("after", b"2")
        assert told(await take(batches, 1 + late)) == ["+doubt=?", "+after=2"][not late :], "a watch misses nothing"
    before = await store.range("", prefix=True)
    await store.close()
    store = await SqliteStore.open(rundir)
    assert await store.range("", prefix=True) == before
    await store.close()


async def test_while_the_disk_is_gone_everything_is_refused_and_says_why(rundir: Path, disk: Disk) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    lease = await store.lease_grant(60)
    disk.fail("COMMIT", "SQLITE_IOERR_WRITE", gone=True)
    await refused(store)
    for call in (store.get("a"), store.put("a", b""), store.lease_keepalive(lease.id), store.range("", prefix=True)):
        with pytest.raises(Unavailable, match=r"disk I/O error.*opened again"):
            await call
    disk.gone = False
    await works(store)
    assert (await store.lease_keepalive(lease.id)).ttl == 60
    await store.close()


async def test_what_waits_behind_a_failed_group_is_refused_and_was_not_kept(rundir: Path, disk: Disk) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    disk.fail("COMMIT", "SQLITE_IOERR_FSYNC")
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(refused(store, "a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = tasks.create_task(refused(store, "b"))
    assert UNKNOWN in str(first.result())
    assert "nothing was done" in str(second.result())
    await works(store)
    assert await store.get("b") is None
    await store.close()


@pytest.mark.parametrize("late", [False, True])
async def test_a_lease_in_doubt_is_granted_or_not_and_never_half(rundir: Path, disk: Disk, late: bool) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    disk.fail("COMMIT", "SQLITE_IOERR_FSYNC", late=late)
    with pytest.raises(Unavailable, match=UNKNOWN):
        await store.lease_grant(60)
    await works(store)
    assert len(await store.leases()) == late
    for lease in await store.leases():
        await store.lease_revoke(lease)
    with pytest.raises(NotFound):
        await store.lease_revoke(1)
    await store.close()


async def test_a_lease_that_ends_while_the_disk_is_gone_ends_afterwards(rundir: Path, disk: Disk) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    lease = await store.lease_grant(0.2)
    await store.put("leased", b"", lease=lease.id)
    async with store.watch("leased") as batches:
        disk.fail("COMMIT", "SQLITE_IOERR_FSYNC", gone=True)
        await refused(store)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(batches)
        disk.gone = False
        async with asyncio.timeout(5):
            assert told([await anext(batches)]) == ["-leased"]
    await store.close()


@pytest.mark.parametrize("name", ["SQLITE_IOERR_READ", "SQLITE_NOMEM", "SQLITE_READONLY"])
async def test_a_failure_before_the_commit_has_kept_nothing(rundir: Path, disk: Disk, name: str) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    disk.fail("INSERT", name)
    assert NOTHING in str(await refused(store))
    await works(store)
    assert await store.get("doubt") is None
    await store.close()


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_BUSY"])
@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "COMMIT"])
async def test_what_sqlite_took_back_by_itself_closes_nothing(
    rundir: Path, disk: Disk, statement: str, name: str
) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    disk.fail(statement, name, gone=True)
    error = await refused(store)
    assert NOTHING in str(error)
    assert ("disk's space" in str(error)) is (name == "SQLITE_FULL")
    assert await store.put("next", b"") == 2
    await store.close()


async def test_damage_met_while_writing_is_called_damage(rundir: Path, disk: Disk) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    disk.fail("COMMIT", "SQLITE_CORRUPT", gone=True)
    error = await refused(store)
    assert isinstance(error, Corrupt)
    assert "damaged" in str(error)
    assert "space" not in str(error)
    await store.close()


async def test_a_disk_that_lost_what_it_acknowledged_is_not_gone_on_with(rundir: Path, disk: Disk) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    for number in range(3):
        await store.put("a", b"%d" % number)
    disk.fail("COMMIT", "SQLITE_IOERR_FSYNC", gone=True)
    await refused(store)
    with sqlite3.connect(rundir / "store.db") as database:
        database.execute("DELETE FROM changes WHERE revision = 4")
    database.close()
    disk.gone = False
    with pytest.raises(Corrupt, match="lost what it had acknowledged"):
        await works(store)
    await store.close()


async def test_a_store_whose_disk_is_gone_closes_at_once(rundir: Path, disk: Disk) -> None:
    store = await SqliteStore.open(rundir, connect=disk.connect)
    disk.fail("COMMIT", "SQLITE_IOERR_FSYNC", gone=True)
    await refused(store)
    async with asyncio.timeout(2):
        await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.get("a")


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond (setrlimit(2)): writes that would fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_write_that_the_kernel_refuses(rundir: Path) -> None:
    store = await SqliteStore.open(rundir)
    await store.put("kept", b"1")
    before = await store.range("", prefix=True)
    limit = (rundir / "store.db-wal").stat().st_size + 10_000
    with file_limit(limit), pytest.raises(Unavailable, match=f"disk I/O error; {UNKNOWN}"):
        await store.put("large", bytes(100_000))
    await works(store)
    assert await store.range("", prefix=True) == before
    assert await store.put("large", bytes(100_000)) == before.revision + 1
    await store.close()
