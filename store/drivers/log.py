"""The log on disk: every change is a row, in order; a key's current value is its last row.

A row knows the revision of the row it supersedes. So an event read from the log says what was there before, and
compaction up to a revision finds what nobody needs by walking the new rows, not the whole table: a little with each
group of writes, in the same transaction. Kept always: each key's last row, and every change of the last `keep`
revisions with what it superseded. WAL with synchronous=FULL: a commit returns after its fsync
(sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
"""

import sqlite3
from pathlib import Path

from ..draft import Draft, tombstone
from ..errors import Corrupt, Unavailable
from ..keyspace import FIRST_REVISION, Keyspace
from ..kv import Event, EventKind, KeyValue, WatchBatch

APPLICATION, VERSION = 0x68775354, 1
COLUMNS = "revision, sub, key, value, created, version, lease, previous"
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE changes(
  revision INTEGER NOT NULL, sub INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
  created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, previous INTEGER NOT NULL,
  PRIMARY KEY(revision, sub)) WITHOUT ROWID;
CREATE TABLE leases(id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
CREATE TABLE compacted(revision INTEGER NOT NULL);
INSERT INTO compacted VALUES(0);
PRAGMA application_id={APPLICATION};
PRAGMA user_version={VERSION};
COMMIT;
"""
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


class Log:
    """The write side; owned by one thread at a time."""

    def __init__(self, file: Path, keep: int) -> None:
        self.file = file
        self._keep = keep
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
            self.compacted = int(self._database.execute("SELECT revision FROM compacted").fetchone()[0])
        except BaseException:
            self._database.close()
            raise

    def read(self) -> tuple[Keyspace, dict[int, float]]:
        """The current keys and the leases."""
        items, revision = dict[str, KeyValue](), FIRST_REVISION
        rows = self._database.execute(
            "SELECT key, value, created, revision, version, lease FROM changes ORDER BY revision, sub"
        )
        for key, value, created, revision, version, lease in rows:
            if version:
                items[key] = _entry(key, value, created, revision, version, lease)
            else:
                items.pop(key, None)
        leases = {int(lease): float(ttl) for lease, ttl in self._database.execute("SELECT id, ttl FROM leases")}
        return Keyspace(revision=revision, items=items), leases

    def append(self, draft: Draft) -> None:
        """Make a draft durable, or raise and keep nothing of it."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._insert(draft)
            compacted = self._compact(draft.revision)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self.compacted = compacted

    def close(self) -> None:
        self._database.close()

    def _prepare(self) -> None:
        """Create the tables in a new file, or check that they are ours."""
        (mode,) = self._database.execute("PRAGMA journal_mode=WAL").fetchone()
        self._database.execute("PRAGMA synchronous=FULL")
        if mode != "wal":
            raise Unavailable(f"{self.file} cannot be journalled here (mode {mode}); use a local file system")
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if not self._database.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._database.executescript(SCHEMA)
            # into the file itself: whatever happens to the -wal file, this is a store
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        if application != APPLICATION:
            raise Corrupt(f"{self.file} is a database of another program; choose another directory")
        if version != VERSION:
            raise Corrupt(f"{self.file} has format {version}, this program reads {VERSION}; use the program it is from")
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise damaged(self.file, verdict.splitlines()[-1])

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

    def _compact(self, revision: int) -> int:
        """Drop what was superseded `keep` revisions ago, some at a time; returns the last compacted revision."""
        upto = revision - self._keep
        if upto < self.compacted + min(STEP, self._keep):
            return self.compacted
        self._database.execute(SUPERSEDED, (self.compacted, upto))
        self._database.execute(
            "DELETE FROM changes WHERE revision > ? AND revision <= ? AND version = 0", (self.compacted, upto)
        )
        self._database.execute("UPDATE compacted SET revision = ?", (upto,))
        return upto


def history(file: Path, low: str, high: str | None, first: int, last: int) -> tuple[list[WatchBatch], int] | None:
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
    batches: dict[int, list[Event]] = {}
    for row in rows:
        batches.setdefault(row[0], []).append(_event(row))
    return [WatchBatch(revision=revision, events=tuple(events)) for revision, events in batches.items()], last


def damaged(file: Path, reason: object) -> Corrupt:
    """The error of a file that can no longer be trusted."""
    return Corrupt(f"{file} is damaged ({reason}); restore a copy, or move {file.parent} away to begin anew")


def _row(sub: int, event: Event) -> tuple[object, ...]:
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


def _event(row: tuple[int, str, bytes, int, int, int, bytes | None, int, int, int, int]) -> Event:
    revision, key, value, created, version, lease, old_value, *old = row
    prev = None if old_value is None else _entry(key, old_value, *old)
    if version:
        return Event(kind=EventKind.PUT, kv=_entry(key, value, created, revision, version, lease), prev=prev)
    return Event(kind=EventKind.DELETE, kv=tombstone(key, revision), prev=prev)


def _entry(key: str, value: bytes, created: int, revision: int, version: int, lease: int) -> KeyValue:
    return KeyValue(key=key, value=value, create_revision=created, mod_revision=revision, version=version, lease=lease)
