"""The embedded engine: an append-only log of changes in SQLite, one writer thread, group commit.

Each change is a row (revision, key, …); the current keys are the last row of each, read once at start. A group of
requests is one SQLite transaction in WAL mode with synchronous=FULL: the acknowledgement comes after the fsync
(sqlite.org/wal.html, pragma synchronous). Compaction deletes superseded rows. One process owns the directory: `flock`.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from pathlib import Path

from ..engine import Engine, Request
from ..errors import Conflict, StoreError, Unavailable
from ..keyspace import Draft, Keyspace
from ..kv import Event, EventKind, KeyValue, WatchBatch

SCHEMA = """
CREATE TABLE IF NOT EXISTS changes(
  revision INTEGER NOT NULL, key TEXT NOT NULL, kind INTEGER NOT NULL, value BLOB NOT NULL,
  created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS changes_revision ON changes(revision);
CREATE TABLE IF NOT EXISTS leases(id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""
PUT, DELETE = 1, 0
KEEP = 50_000
Row = tuple[int, str, int, bytes, int, int, int]


class SqliteStore(Engine):
    """A durable store in a directory; use `open`."""

    def __init__(
        self, database: sqlite3.Connection, lock: int, keys: Keyspace, leases: dict[int, float], compacted: int
    ) -> None:
        super().__init__(keys, leases, compacted)
        self._database = database
        self._lock = lock
        self._jobs: queue.SimpleQueue[tuple[Draft, list[Request]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, directory: Path) -> "SqliteStore":
        """Open or create the store in `directory`; Conflict when another process has it, Unavailable when the
        disk refuses."""
        return cls(*await asyncio.to_thread(_load, directory))

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        self._jobs.put((draft, requests))

    async def history(self, low: str, high: str | None, first: int, last: int) -> list[WatchBatch]:
        return await asyncio.to_thread(_history, self._file(), low, high, first, last)

    async def close(self) -> None:
        await super().close()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._database.close()
        os.close(self._lock)

    def _file(self) -> str:
        return str(self._database.execute("PRAGMA database_list").fetchone()[2])

    def _write(self) -> None:
        """The writer thread: one transaction a group, then back to the loop."""
        while (job := self._jobs.get()) is not None:
            draft, requests = job
            failure: StoreError | None = None
            try:
                with self._database:
                    self._store(draft)
            except sqlite3.Error as error:
                failure = Unavailable(
                    f"store: {error}; nothing of this request was kept; free some space and try again"
                )
            self._loop.call_soon_threadsafe(self.settle, draft, requests, failure)
            if failure is None and draft.revision - self._compacted > 2 * KEEP:
                self._compact(draft.revision - KEEP)

    def _store(self, draft: Draft) -> None:
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        rows = [_row(event) for batch in draft.batches for event in batch.events]
        database.executemany("INSERT INTO changes VALUES(?,?,?,?,?,?,?)", rows)
        if draft.granted:
            database.executemany("INSERT INTO leases VALUES(?,?)", list(draft.granted.items()))
        if draft.ended:
            database.executemany("DELETE FROM leases WHERE id=?", [(lease,) for lease in draft.ended])

    def _compact(self, revision: int) -> None:
        """Delete every row up to `revision` that a later one supersedes, and old deletions."""
        self._compacted = revision
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.execute(
                    "DELETE FROM changes WHERE revision<=?1 AND (kind=0 OR rowid NOT IN "
                    "(SELECT max(rowid) FROM changes WHERE revision<=?1 GROUP BY key))",
                    (revision,),
                )
                self._database.executemany(
                    "INSERT OR REPLACE INTO meta VALUES(?,?)", [("compacted", revision), ("revision", revision)]
                )
        except sqlite3.Error:
            return  # the log is longer than need be; the next group tries again


def _row(event: Event) -> Row:
    entry = event.kv
    kind = PUT if event.kind is EventKind.PUT else DELETE
    return entry.mod_revision, entry.key, kind, entry.value, entry.create_revision, entry.version, entry.lease


def _load(directory: Path) -> tuple[sqlite3.Connection, int, Keyspace, dict[int, float], int]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory)
    except OSError as error:
        raise Unavailable(f"store in {directory}: {error.strerror}") from error
    try:
        database = sqlite3.connect(directory / "store.db", isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(SCHEMA)
        keys, compacted = _read(database)
        leases = {int(lease): float(ttl) for lease, ttl in database.execute("SELECT id, ttl FROM leases")}
    except sqlite3.Error as error:
        os.close(lock)
        raise Unavailable(f"store in {directory}: {error}; check the disk, or restore a copy") from error
    return database, lock, keys, leases, compacted


def _read(database: sqlite3.Connection) -> tuple[Keyspace, int]:
    meta = dict(database.execute("SELECT name, number FROM meta"))
    keys = Keyspace(revision=meta.get("revision", 0))
    for row in database.execute("SELECT * FROM changes ORDER BY revision, rowid"):
        event = _event(row)
        keys.revision = max(keys.revision, event.kv.mod_revision)
        if event.kind is EventKind.PUT:
            keys.set(event.kv)
        else:
            keys.drop(event.kv.key)
    return keys, meta.get("compacted", 0)


def _event(row: Row) -> Event:
    revision, key, kind, value, created, version, lease = row
    entry = KeyValue(key=key, value=value, create_revision=created, mod_revision=revision, version=version, lease=lease)
    return Event(kind=EventKind.PUT if kind == PUT else EventKind.DELETE, kv=entry)


def _history(file: str, low: str, high: str | None, first: int, last: int) -> list[WatchBatch]:
    """Read old batches on a connection of their own; readers never block the writer in WAL mode."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        rows = database.execute(
            "SELECT * FROM changes WHERE revision BETWEEN ? AND ? AND key>=? AND (? IS NULL OR key<?) "
            "ORDER BY revision, rowid",
            (first, last, low, high, high),
        ).fetchall()
    except sqlite3.Error as error:
        raise Unavailable(f"store: {error}") from error
    finally:
        database.close()
    batches: dict[int, list[Event]] = {}
    for row in rows:
        batches.setdefault(row[0], []).append(_event(row))
    return [WatchBatch(revision=revision, events=tuple(events)) for revision, events in batches.items()]


def _lock(directory: Path) -> int:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise Conflict(f"{directory} is in use by process {holder}; stop it or choose another directory") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
