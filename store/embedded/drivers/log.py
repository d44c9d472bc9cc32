"""The log on disk: every change is a row, in order; a key's current value is its last row.

A row knows the revision of the row it supersedes. So an event read from the log says what was there before, and
compaction up to a revision finds what nobody needs by walking the new rows, not the whole table: a little with each
group of writes, in the same transaction. Kept always: each key's last row, and every change of the last `keep`
revisions with what it superseded. WAL with synchronous=FULL: a commit returns after its fsync
(sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).

A failed write or fsync is the end of a connection: the log may hold the frames of a commit that was refused, and a
second fsync would not tell (lwn.net/Articles/752063). `reopen` writes what can be read into the database file anew,
and what is read then is durable.
"""

import contextlib
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ...errors import StoreError, Unavailable
from ...kv import KeyValue
from ..changes import Changes
from ..draft import Draft
from ..keyspace import FIRST_REVISION, Keyspace
from .rows import COLUMNS, entry, row
from .schema import DAMAGED, Connect, connect, damaged, prepare

# one statement for many rows: the interpreter's lock changes hands once, not once a row
ROWS = 64
INSERT = [f"INSERT INTO changes({COLUMNS}) VALUES " + ",".join(["(?,?,?,?,?,?,?,?)"] * n) for n in range(ROWS + 1)]
SUPERSEDED = """
DELETE FROM changes WHERE (revision, sub) IN (
  SELECT old.revision, old.sub FROM changes AS new JOIN changes AS old
  ON old.revision = new.previous AND old.key = new.key
  WHERE new.revision > ? AND new.revision <= ? AND new.previous > 0)
"""
STEP = 250


# of these SQLite itself takes everything back, and the connection is as good as before
CLEAN = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CONSTRAINT", "SQLITE_TOOBIG")


class Log:
    """The write side; owned by one thread at a time. `sound` until a failure after which it must be reopened;
    `allocated` is the database's size in bytes."""

    def __init__(self, file: Path, keep: int | None, connect: Connect = connect) -> None:
        self.file = file
        self.sound = True
        self._keep, self._connect = keep, connect
        self._database, self.compacted = self._open("rwc")
        self.allocated = 0
        self._measure()

    def reopen(self) -> None:
        """Open the file anew after a failure; what `read` gives then is durable. sqlite3.Error, StoreError."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        self._database, self.compacted = self._open("rw")
        (busy, *_) = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise Unavailable(f"store: {self.file} is being read by others; it is checked again when they are done")

    def _open(self, mode: str) -> tuple[sqlite3.Connection, int]:
        database = self._connect(f"{self.file.absolute().as_uri()}?mode={mode}")
        try:
            prepare(database, self.file)
            return database, int(database.execute("SELECT revision FROM compacted").fetchone()[0])
        except BaseException:
            database.close()
            raise

    def read(self) -> tuple[Keyspace, dict[int, float]]:
        """The current keys and the leases."""
        with _uncollected():
            return self._read()

    def _read(self) -> tuple[Keyspace, dict[int, float]]:
        items, changes, revision = dict[bytes, KeyValue[bytes]](), Changes(), FIRST_REVISION
        rows = self._database.execute(
            "SELECT key, value, created, revision, version, lease, previous FROM changes ORDER BY revision, sub"
        )
        for key, value, created, revision, version, lease, previous in rows:
            if (had := items.get(key)) is not None:
                key = had.key  # one object in memory for all that name it
            if revision > self.compacted:
                changes.add(revision, key, previous)
            if version:
                items[key] = entry(key, value, created, revision, version, lease)
            else:
                items.pop(key, None)
        revision = max(revision, self.compacted)  # a deletion is not kept when the revision is compacted that made it
        leases = {int(lease): float(ttl) for lease, ttl in self._database.execute("SELECT id, ttl FROM leases")}
        meta = dict(self._database.execute("SELECT name, value FROM meta"))
        keys = Keyspace(revision=revision, items=items, compacted=self.compacted, meta=meta, changes=changes)
        return keys, leases

    def append(self, draft: Draft) -> None:
        """Make a draft durable. StoreError: nothing of it was kept, unless it says that the outcome is unknown; when
        the connection is not to be trusted any more, `sound` is false."""
        committing = False
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._insert(draft)
            compacted = self._compact(max(draft.compacted, self._due(draft.revision)))
            committing = True
            self._database.execute("COMMIT")
        except Exception as error:
            name = getattr(error, "sqlite_errorname", "")
            clean = self._roll_back() and (name.startswith(CLEAN) or not isinstance(error, sqlite3.Error))
            self.sound = clean
            raise self._failure(error, name, in_doubt=committing and not clean) from error
        self.compacted = compacted
        if draft.defragments:
            draft.failure = self._defragment()
        self._measure()

    def _measure(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what is durable is so, whatever its size
            (pages,) = self._database.execute("PRAGMA page_count").fetchone()
            (size,) = self._database.execute("PRAGMA page_size").fetchone()
            self.allocated = pages * size

    def close(self) -> None:
        self._database.close()

    def _roll_back(self) -> bool:
        """Take back what was not committed; False when even that fails."""
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        except sqlite3.Error:
            return False
        return True

    def _failure(self, error: Exception, name: str, *, in_doubt: bool) -> StoreError:
        outcome = "the outcome of this is unknown" if in_doubt else "nothing of this was kept"
        if name.startswith(DAMAGED):
            return damaged(self.file, f"{error}; {outcome}")
        if name.startswith("SQLITE_FULL"):
            return Unavailable(f"store: {error}; {outcome}; check the disk's space and try again")
        if self.sound:
            return Unavailable(f"store: {error}; {outcome}; try again")
        then = "read it when the store answers again" if in_doubt else "try again when the store answers"
        return Unavailable(f"store: {error}; {outcome}; {then}, and look for the disk in dmesg")

    def _insert(self, draft: Draft) -> None:
        flat, count = list[object](), 0
        for batch in draft.batches:
            for sub, event in enumerate(batch.events):
                flat += row(sub, event)
                count += 1
                if count == ROWS:
                    self._database.execute(INSERT[ROWS], flat)
                    flat, count = [], 0
        if count:
            self._database.execute(INSERT[count], flat)
        if draft.granted:
            self._database.executemany("INSERT INTO leases VALUES(?,?)", list(draft.granted.items()))
        if draft.ended:
            self._database.executemany("DELETE FROM leases WHERE id=?", [(lease,) for lease in draft.ended])
        for name, value in draft.meta.items():
            if value is None:
                self._database.execute("DELETE FROM meta WHERE name=?", (name,))
            else:
                self._database.execute("REPLACE INTO meta VALUES(?,?)", (name, value))

    def _defragment(self) -> StoreError | None:
        """Write the file anew without its holes. Why not, when SQLite took everything back; raises otherwise."""
        try:
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            self.sound = name.startswith(CLEAN)
            if not self.sound:
                raise self._failure(error, name, in_doubt=True) from error
            return Unavailable(f"store: {error}; {self.file} was not made smaller; that needs as much space again")
        return None

    def _due(self, revision: int) -> int:
        """The revision to compact to by itself: `keep` back, some at a time; 0 is not yet."""
        if self._keep is None or revision - self._keep < self.compacted + min(STEP, self._keep):
            return 0
        return revision - self._keep

    def _compact(self, upto: int) -> int:
        """Drop what was superseded up to a revision; returns the last compacted one."""
        if upto <= self.compacted:
            return self.compacted
        self._database.execute(SUPERSEDED, (self.compacted, upto))
        self._database.execute(
            "DELETE FROM changes WHERE revision > ? AND revision <= ? AND version = 0", (self.compacted, upto)
        )
        self._database.execute("UPDATE compacted SET revision = ?", (upto,))
        return upto


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which would look again and again at what is read and stays (a third of the
    time)."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
