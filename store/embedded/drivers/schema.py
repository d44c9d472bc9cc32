"""The database's file: its tables, its format, and what is said of one that cannot be used.

Format 1 had text keys, format 2 no `meta`; both are brought up to date when they are opened.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import Corrupt, Unavailable

NAME = "store.db"
APPLICATION, VERSION = 0x68775354, 3
META = "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE changes(
  revision INTEGER NOT NULL, sub INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
  created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, previous INTEGER NOT NULL,
  PRIMARY KEY(revision, sub)) WITHOUT ROWID;
CREATE TABLE leases(id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
CREATE TABLE compacted(revision INTEGER NOT NULL);
INSERT INTO compacted VALUES(0);
{META}
PRAGMA application_id={APPLICATION};
PRAGMA user_version={VERSION};
COMMIT;
"""
UPGRADES = {1: "UPDATE changes SET key = CAST(key AS BLOB);" + META, 2: META}
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
Connect = Callable[[str], sqlite3.Connection]


def connect(uri: str, **options: Any) -> sqlite3.Connection:
    """A connection as the log needs it; `options` are sqlite3.connect's."""
    database: sqlite3.Connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, **options
    )
    return database


def prepare(database: sqlite3.Connection, file: Path) -> None:
    """Create the tables in a new file, or check that they are ours, and whole. Corrupt, Unavailable."""
    (mode,) = database.execute("PRAGMA journal_mode=WAL").fetchone()
    database.execute("PRAGMA synchronous=FULL")
    if mode != "wal":
        raise Unavailable(f"{file} cannot be journalled here (mode {mode}); use a local file system")
    if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
        database.executescript(SCHEMA)
        # into the file itself: whatever happens to the -wal file, this is a store
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    version = check_format(database, file)
    if version in UPGRADES:
        database.executescript(f"BEGIN IMMEDIATE; {UPGRADES[version]} PRAGMA user_version={VERSION}; COMMIT;")
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(file, verdict.splitlines()[-1])


def check_format(database: sqlite3.Connection, file: Path) -> int:
    """The format of a database of ours that can be used. Corrupt."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise Corrupt(f"{file} is a database of another program; choose another directory")
    if not 1 <= version <= VERSION:
        raise Corrupt(f"{file} has format {version}, this program reads {VERSION}; use the program it is from")
    return int(version)


def damaged(file: Path, reason: object) -> Corrupt:
    """The error of a file that can no longer be trusted."""
    return Corrupt(
        f"{file} is damaged ({reason}); move {file.parent} away and restore a snapshot: "
        f"hawser kv snapshot restore FILE --data-dir {file.parent}"
    )
