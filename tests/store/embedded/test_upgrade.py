"""A database of an earlier format: opened, brought up to date, and everything in it is still there."""

import sqlite3
from pathlib import Path

import pytest

from hawser.store import SqliteStore

from ..watching import take, told

FORMAT_1 = """
CREATE TABLE changes(
  revision INTEGER NOT NULL, sub INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
  created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, previous INTEGER NOT NULL,
  PRIMARY KEY(revision, sub)) WITHOUT ROWID;
CREATE TABLE leases(id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
CREATE TABLE compacted(revision INTEGER NOT NULL);
INSERT INTO compacted VALUES(1);
PRAGMA application_id=0x68775354;
PRAGMA user_version=1;
"""
ROWS = [
    (2, 0, "a", b"1", 2, 1, 0, 0),
    (3, 0, "ä/ö", b"2", 3, 1, 7, 0),
    (4, 0, "a", b"3", 2, 2, 0, 2),
    (4, 1, "gone", b"4", 4, 1, 0, 0),
    (5, 0, "gone", b"", 0, 0, 0, 4),
]


@pytest.fixture
def old(rundir: Path) -> Path:
    """The directory of a store of text keys."""
    database = sqlite3.connect(rundir / "store.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript(FORMAT_1)
    database.executemany("INSERT INTO changes VALUES(?,?,?,?,?,?,?,?)", ROWS)
    database.execute("INSERT INTO leases VALUES(7, 60.0)")
    database.commit()
    database.close()
    return rundir


async def test_a_store_of_text_keys_is_brought_up_to_date(old: Path) -> None:
    for again in range(2):
        store = await SqliteStore.open(old)
        found = await store.range("", prefix=True)
        assert [(entry.key, entry.value, entry.lease) for entry in found.kvs][:2] == [("a", b"3", 0), ("ä/ö", b"2", 7)]
        assert found.revision == 5 + again
        assert [entry.value for entry in (await store.range("a", revision=3)).kvs] == [b"1"]
        async with store.watch("", prefix=True, from_revision=2) as batches:
            assert told(await take(batches, 4)) == ["+a=1", "+ä/ö=2", "+a=3 +gone=4", "-gone"]
        assert (await store.lease_time_to_live(7)).keys == ("ä/ö",)
        await store.put(f"ö{again}", b"")
        await store.close()
