"""What an operator asks an engine for: compaction, defragmentation, its size and the alarm of its quota, what its
content hashes to, and a copy of it (etcd's Maintenance service).

The quota is etcd's: while the database's file, with what a request adds, is as large as the quota, whatever puts or
grants is refused with NoSpace and the alarm is raised, durably; reads, deletes and compaction go on. The alarm ends by
hand only (`disarm`), after compaction and defragmentation made room, or is raised again by the next put.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial

from ..digest import Digest
from ..errors import Compacted, Unavailable
from .ageing import parts
from .base import Base, compacted
from .draft import ALARM, NOSPACE, Draft
from .transaction import future


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """In bytes: what the database's file has, and what of it is in use; compaction lowers only the latter, and
    defragmentation the former to the latter. The write-ahead log beside the file (some MiB) is not in it."""

    allocated: int
    in_use: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A copy as of `revision`: `size` bytes in `chunks`, and then one more chunk, the 32 bytes of their SHA-256
    (etcd's convention for snapshot files)."""

    revision: int
    size: int
    chunks: AsyncIterator[bytes]


class Upkeep(Base):
    """Everything but keys, watches and leases."""

    async def compact(self, revision: int) -> None:
        """Keep nothing that is older than the keys at this revision, which stays the oldest that can be read. Watches
        that are further behind end with Compacted. Future; Compacted when that was done before. A long past goes a
        part at a time, so that nobody waits for all of it."""
        self.groups.check()
        if revision > self.keys.revision:
            raise future(revision, self.keys.revision)
        last = self.kept_from() - 1
        if revision <= last:
            raise Compacted(f"revision {revision} is compacted already, as is {last}", last)
        for upto in parts(last, revision):
            with suppress(Compacted):  # by somebody else meanwhile
                await self.groups.submit(partial(Draft.compact, revision=upto))

    async def defragment(self) -> None:
        """Give the space of what is no longer kept back to the disk; writers wait meanwhile. Unavailable."""
        draft: Draft = await self.groups.submit(lambda draft: draft.defragment())
        if draft.failure is not None:
            raise draft.failure

    async def size(self) -> Size:
        """How large the store is; in memory, the bytes of keys and values."""
        self.groups.check()
        held = sum(len(entry.key) + len(entry.value) for entry in self.keys.items.values())
        return Size(allocated=held, in_use=held)

    @property
    def alarm(self) -> bool:
        """Whether the alarm is raised: whatever puts or grants is refused."""
        return ALARM in self.keys.meta

    async def raise_alarm(self) -> None:
        """As if the quota were reached; durable. Again is nothing."""
        await self.set_meta(ALARM, NOSPACE)

    async def disarm(self) -> None:
        """End the alarm; durable. When the quota is still reached the next put raises it again."""
        await self.set_meta(ALARM, None)

    async def hash(self, revision: int = 0) -> tuple[int, int]:
        """CRC-32C over every change up to a revision (0: now) that is kept, and the last compacted revision (-1: none):
        what etcd's HashKV answers after the same history, compacted at the same revision. Future; Compacted of the
        compacted revision too (as in etcd 3.4)."""
        self.groups.check()
        if revision > self.keys.revision:
            raise future(revision, self.keys.revision)
        while True:
            upto, oldest = revision or self.keys.revision, self.compacted
            if revision and revision <= oldest:
                raise compacted(revision, oldest)
            with suppress(Compacted):  # meanwhile: again, or too late
                return await self.hash_rows(oldest, upto), oldest or -1

    async def hash_rows(self, oldest: int, upto: int) -> int:
        """The hash of what is kept since `oldest` up to a revision; the subclass's part."""
        raise NotImplementedError

    async def digest(self) -> Digest:
        """What the keys are now: how many, and a SHA-256 over them, to compare with another store's."""
        self.groups.check()
        entries = [self.keys.items[key] for key in self.keys.between(b"", None)]
        digest = Digest()
        await asyncio.to_thread(digest.extend, entries)
        return digest

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """A copy of everything as of one revision, while writes go on. Unavailable."""
        raise Unavailable("a store in memory has no snapshot; serve one from a directory")
