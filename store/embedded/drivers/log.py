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
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import Corrupt, StoreError, Unavailable
from ...kv import Event, EventKind, KeyValue, WatchBatch
from ..draft import Draft
from ..keyspace import FIRST_REVISION, Keyspace
from ..overlay import tombstone

APPLICATION, VERSION = 0x68775354, 2
COLUMNS = "revision, sub, key, value, created, version, lease, previous"
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE changes(
  revision INTEGER NOT NULL, sub INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
  created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, previous INTEGER NOT NULL,
  PRIMARY KEY(revision, sub)) WITHOUT ROWID;
CREATE TABLE leases(id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
CREATE TABLE compacted(revision INTEGER NOT NULL);
INSERT INTO compacted VALUES(0);
PRAGMA application_id={APPLICATION};
PRAGMA user_version={VERSION};
COMMIT;
"""
UPGRADE = "UPDATE changes SET key = CAST(key AS BLOB);"
# one statement for many rows: the interpreter's lock changes hands once, not once a row
ROWS = 64
INSERT = [f"INSERT INTO changes({COLUMNS}) VALUES " + ",".join(["(?,?,?,?,?,?,?,?)"] * n) for n in range(ROWS + 1)]
SUPERSEDED = """
DELETE FROM changes WHERE (revision, sub) IN (
  SELECT old.revision, old.sub FROM changes AS new JOIN changes AS old
  ON old.revision = new.previous AND old.key = new.key
  WHERE new.revision > ? AND new.revision <= ? AND new.previous > 0)
"""
HISTORY = """
SELECT new.revision, new.key, new.value, new.created, new.version, new.lease,
       old.value, old.created, old.revision, old.version, old.lease
FROM changes AS new LEFT JOIN changes AS old ON old.revision = new.previous AND old.key = new.key
WHERE new.revision BETWEEN ? AND ? AND new.key >= ? AND (?4 IS NULL OR new.key < ?4) ORDER BY new.revision, new.sub
"""
PAGE, STEP = 1000, 250


DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
# of these SQLite itself takes everything back, and the connection is as good as before
CLEAN = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CONSTRAINT", "SQLITE_TOOBIG")
Connect = Callable[[str], sqlite3.Connection]


def connect(uri: str, **options: Any) -> sqlite3.Connection:
    """A connection as the log needs it; `options` are sqlite3.connect's."""
    database: sqlite3.Connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, **options
    )
    return database


class Log:
    """The write side; owned by one thread at a time. `sound` until a failure after which it must be reopened."""

    def __init__(self, file: Path, keep: int | None, connect: Connect = connect) -> None:
        self.file = file
        self.sound = True
        self._keep, self._connect = keep, connect
        self._database, self.compacted = self._open("rwc")

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
            _prepare(database, self.file)
            return database, int(database.execute("SELECT revision FROM compacted").fetchone()[0])
        except BaseException:
            database.close()
            raise

    def read(self) -> tuple[Keyspace, dict[int, float]]:
        """The current keys and the leases."""
        items, revision = dict[bytes, KeyValue[bytes]](), FIRST_REVISION
        rows = self._database.execute(
            "SELECT key, value, created, revision, version, lease FROM changes ORDER BY revision, sub"
        )
        for key, value, created, revision, version, lease in rows:
            if version:
                items[key] = _entry(key, value, created, revision, version, lease)
            else:
                items.pop(key, None)
        leases = {int(lease): float(ttl) for lease, ttl in self._database.execute("SELECT id, ttl FROM leases")}
        return Keyspace(revision=revision, items=items, compacted=self.compacted), leases

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
                flat += _row(sub, event)
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


def _prepare(database: sqlite3.Connection, file: Path) -> None:
    """Create the tables in a new file, or check that they are ours."""
    (mode,) = database.execute("PRAGMA journal_mode=WAL").fetchone()
    database.execute("PRAGMA synchronous=FULL")
    if mode != "wal":
        raise Unavailable(f"{file} cannot be journalled here (mode {mode}); use a local file system")
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
        database.executescript(SCHEMA)
        # into the file itself: whatever happens to the -wal file, this is a store
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    if application != APPLICATION:
        raise Corrupt(f"{file} is a database of another program; choose another directory")
    if version == 1:  # keys were text
        database.executescript(f"BEGIN IMMEDIATE; {UPGRADE} PRAGMA user_version={VERSION}; COMMIT;")
    elif version != VERSION:
        raise Corrupt(f"{file} has format {version}, this program reads {VERSION}; use the program it is from")
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(file, verdict.splitlines()[-1])


def history(
    file: Path, low: bytes, high: bytes | None, first: int, last: int
) -> tuple[list[WatchBatch[bytes]], int] | None:
    """A page of old batches and the last revision of it; None when the log no longer has `first`.

    On a connection of its own and from one snapshot: it neither blocks the writer nor sees half a compaction.
    """
    last = min(last, first + PAGE - 1)
    database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        database.execute("BEGIN")
        if first <= database.execute("SELECT revision FROM compacted").fetchone()[0]:
            return None
        rows = database.execute(HISTORY, (first, last, low, high)).fetchall()
    finally:
        database.close()
    batches: dict[int, list[Event[bytes]]] = {}
    for row in rows:
        batches.setdefault(row[0], []).append(_event(row))
    return [WatchBatch(revision=revision, events=tuple(events)) for revision, events in batches.items()], last


def damaged(file: Path, reason: object) -> Corrupt:
    """The error of a file that can no longer be trusted."""
    return Corrupt(f"{file} is damaged ({reason}); restore a copy, or move {file.parent} away to begin anew")


def _row(sub: int, event: Event[bytes]) -> tuple[object, ...]:
    entry = event.kv
    return (
        entry.mod_revision,
        sub,
        entry.key,
        entry.value,
        entry.create_revision,
        entry.version,
        entry.lease,
        event.prev.mod_revision if event.prev else 0,
    )


def _event(row: tuple[int, bytes, bytes, int, int, int, bytes | None, int, int, int, int]) -> Event[bytes]:
    revision, key, value, created, version, lease, old_value, *old = row
    prev = None if old_value is None else _entry(key, old_value, *old)
    if version:
        return Event(kind=EventKind.PUT, kv=_entry(key, value, created, revision, version, lease), prev=prev)
    return Event(kind=EventKind.DELETE, kv=tombstone(key, revision), prev=prev)


def _entry(key: bytes, value: bytes, created: int, revision: int, version: int, lease: int) -> KeyValue[bytes]:
    return KeyValue(key=key, value=value, create_revision=created, mod_revision=revision, version=version, lease=lease)
