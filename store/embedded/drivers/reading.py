"""What is read from the log beside its writer: pages of history, sizes, the hash.

Each on a connection of its own and from one snapshot: it neither blocks the writer nor sees half a compaction. All of
this blocks: call it on a thread.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...kv import Event, WatchBatch
from ..hashing import Records
from ..past import Entries, Wanted
from . import rows

PAGE, PAGE_BYTES = 1000, 16 << 20
HISTORY = """
SELECT new.revision, new.key, new.value, new.created, new.version, new.lease,
       old.value, old.created, old.revision, old.version, old.lease
FROM changes AS new LEFT JOIN changes AS old ON old.revision = new.previous AND old.key = new.key
WHERE new.revision BETWEEN ? AND ? AND new.key >= ? AND (?4 IS NULL OR new.key < ?4) ORDER BY new.revision, new.sub
"""
LOOKUP = """
WITH wanted(revision, key) AS (VALUES {}) SELECT key, value, created, revision, version, lease
FROM wanted CROSS JOIN changes USING(revision, key)
"""
SUPERSEDING = "SELECT key, previous FROM changes WHERE revision > ? AND revision <= ? AND previous BETWEEN 1 AND ?"
ROWS = """
SELECT sub, key, value, created, revision, version, lease FROM changes WHERE revision <= ? ORDER BY revision, sub
"""


def connect(file: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


@contextlib.contextmanager
def snapshot(file: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A transaction that reads, and the last compacted revision in it. sqlite3.Error."""
    with contextlib.closing(connect(file)) as database:
        database.execute("BEGIN")
        (compacted,) = database.execute("SELECT revision FROM compacted").fetchone()
        yield database, compacted


def history(
    file: Path, low: bytes, high: bytes | None, first: int, last: int
) -> tuple[list[WatchBatch[bytes]], int] | None:
    """A page of old batches and the last revision of it: PAGE revisions, or fewer when these have more than PAGE_BYTES;
    None when the log no longer has `first`."""
    last = min(last, first + PAGE - 1)
    with snapshot(file) as (database, compacted):
        if first <= compacted:
            return None
        batches: dict[int, list[Event[bytes]]] = {}
        size = 0
        for each in database.execute(HISTORY, (first, last, low, high)):
            if size > PAGE_BYTES and each[0] not in batches:  # revisions are whole
                last = each[0] - 1
                break
            event = rows.event(each)
            batches.setdefault(each[0], []).append(event)
            size += len(event.kv.value) + (len(event.prev.value) if event.prev else 0)
    return [WatchBatch(revision=revision, events=tuple(events)) for revision, events in batches.items()], last


def lookup(file: Path, wanted: Sequence[Wanted]) -> Entries:
    """What keys were at revisions that changed them, of those that the log still has."""
    entries: Entries = {}
    with snapshot(file) as (database, _):
        for start in range(0, len(wanted), PAGE):
            page = wanted[start : start + PAGE]
            values = ",".join(["(?,?)"] * len(page))
            for found in database.execute(LOOKUP.format(values), [field for each in page for field in each]):
                entries[found[0]] = rows.entry(*found)
    return entries


def crc(file: Path, oldest: int, upto: int) -> int | None:
    """The hash of what is kept since `oldest`, the last compacted revision, up to a revision; None when more was
    compacted meanwhile."""
    records = Records()
    with snapshot(file) as (database, compacted):
        if compacted != oldest:
            return None
        superseded = set(database.execute(SUPERSEDING, (oldest, upto, oldest)))
        for sub, *fields in database.execute(ROWS, (upto,)):
            entry = rows.entry(*fields)
            if entry.mod_revision > oldest or (entry.version and (entry.key, entry.mod_revision) not in superseded):
                records.add(entry, sub)
    return records.crc()


def size(file: Path) -> tuple[int, int]:
    """Bytes of the database, and of its pages that are in use."""
    with snapshot(file) as (database, _):
        (page,) = database.execute("PRAGMA page_size").fetchone()
        (count,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
    return page * count, page * (count - free)
