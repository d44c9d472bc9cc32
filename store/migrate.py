"""From one store to another, whatever they are, with nothing lost: copy, follow, verify.

`copy` takes all keys as they are at one revision, with their leases, a page at a time, while the source goes on.
`follow` repeats on the target what changed since, in order, a revision a transaction, or several where it is larger
than one may be. Once the source is quiet, `verify` holds both against each other by count and by hash. Revisions and
versions are each store's own and do not move. Every step may be repeated: a copy that was cut off goes on over what it
left.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil

from .background import background
from .digest import Digest
from .errors import Compacted, Conflict, LeaseExists, LeaseNotFound, StoreError
from .kv import DeleteOp, EventKind, KeyValue, Op, PutOp, RangeResult, Store, WatchBatch
from .pages import pages

BATCH, BYTES = 128, 1 << 20
SMALLEST, RENEWAL = 2, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a phase is: `done` of `total` keys (copy, verify) or revisions (follow)."""

    phase: str
    done: int
    total: int


Report = Callable[[Progress], None]


class Migration:
    """Everything in `source` to `target`."""

    def __init__(self, source: Store[bytes], target: Store[bytes], report: Report = lambda progress: None) -> None:
        self._source, self._target, self._report = source, target, report
        self._leases = set[int]()
        self._renewed = 0.0
        self._revision = 0

    async def copy(self, *, overwrite: bool = False) -> int:
        """All keys as of one revision; returns it. Conflict when the target holds keys that the source does not, unless
        those may go."""
        while True:
            with suppress(Compacted):  # the source moved on faster than this: what is there already is only put again
                at = await self._source.range(b"\0", end=b"\0", limit=1)
                await self._clear_target(at.revision, overwrite)
                overwrite = True  # what the target has from now on came from here
                return await self._copy(at)

    async def follow(self, upto: int | None = None) -> int:
        """What changed since, up to a revision (None: the source's now); returns it. Compacted: copy again."""
        last = (await self._source.range(b"\0", limit=1)).revision if upto is None else upto
        first = self._revision
        if last > first:
            async with self._source.watch(b"", prefix=True, from_revision=first + 1) as watch:
                while self._revision < last:
                    # nothing for a while: what is left up to `last` made no events
                    batch = await watch.wait(1.0)
                    await self._repeat(batch)
                    self._revision = min(batch.revision, last) if not batch.events else batch.revision
                    self._report(Progress(phase="follow", done=self._revision - first, total=last - first))
        await self._end_leases()
        return self._revision

    async def verify(self) -> Digest:
        """Both hold the same now. Conflict when not; the source must be quiet."""
        async with background(self._keep_alive()):
            ours, theirs = await digest(self._source, self._report), await digest(self._target)
        if ours != theirs:
            raise Conflict(
                f"the stores differ: {ours.count} keys, hash {ours.sha256[:12]}, against {theirs.count}, "
                f"{theirs.sha256[:12]}; nothing was switched; stop what writes to them and try again"
            )
        return ours

    async def _clear_target(self, revision: int, overwrite: bool) -> None:
        """Whatever the target has must be in the source at that revision too, as a copy cut off leaves it, or goes."""
        async for page in pages(self._target):
            strange = {entry.key for entry in page}
            first, after = page[0].key, page[-1].key + b"\0"
            async for known in pages(self._source, revision, first, after, keys_only=True):
                strange.difference_update(entry.key for entry in known)
            if strange and not overwrite:
                key = min(strange).decode(errors="backslashreplace")
                what = f"the target is not empty: it has {key}, which the source has not"
                raise Conflict(f"{what}; empty it, or --overwrite")
            await self._apply([DeleteOp(key) for key in sorted(strange)])

    async def _copy(self, at: RangeResult[bytes]) -> int:
        done = 0
        async for page in pages(self._source, at.revision):
            ops: list[Op[bytes]] = [await self._put(entry) for entry in page]
            await self._apply(ops)
            done += len(page)
            self._report(Progress(phase="copy", done=done, total=at.count))
        self._revision = at.revision
        return at.revision

    async def _repeat(self, batch: WatchBatch[bytes]) -> None:
        ops = list[Op[bytes]]()
        for event in batch.events:
            deleted = event.kind is EventKind.DELETE
            ops.append(DeleteOp(event.kv.key) if deleted else await self._put(event.kv))
        await self._apply(ops)

    async def _put(self, entry: KeyValue[bytes]) -> PutOp[bytes]:
        """A key's put, its lease granted first."""
        return PutOp(entry.key, entry.value, await self._lease(entry.lease) if entry.lease else 0)

    async def _lease(self, lease: int) -> int:
        """The target's lease of the same id; 0 when the source's has ended: its delete is yet to be followed."""
        if lease not in self._leases:
            try:
                status = await self._source.lease_time_to_live(lease)
            except LeaseNotFound:
                return 0
            with suppress(LeaseExists):  # a copy that was cut off
                await self._target.lease_grant(max(ceil(status.granted), SMALLEST), id=lease)
            self._leases.add(lease)
        return lease

    async def _renew(self) -> None:
        """Their owners renew the source's; until they renew the target's this does."""
        now = asyncio.get_running_loop().time()
        if now < self._renewed + RENEWAL:
            return
        self._renewed = now
        for lease in tuple(self._leases):
            try:
                await self._target.lease_keepalive(lease)
            except LeaseNotFound:
                self._leases.discard(lease)

    async def _keep_alive(self) -> None:
        while True:
            with suppress(StoreError):  # told by whatever else asks the target
                await self._renew()
            await asyncio.sleep(RENEWAL)

    async def _end_leases(self) -> None:
        """Leases without keys come too, those that ended meanwhile go."""
        living = set(await self._source.leases())
        for lease in living:
            await self._lease(lease)
        for lease in self._leases - living:
            with suppress(LeaseNotFound):
                await self._target.lease_revoke(lease)
            self._leases.discard(lease)

    async def _apply(self, ops: Sequence[Op[bytes]]) -> None:
        await self._renew()
        for part in _parts(ops):
            if len(part) == 1:  # the largest value that a store takes leaves no room for a transaction's words
                await self._target.apply(part[0])
            else:
                await self._target.txn([], part)


async def digest(store: Store[bytes], report: Report = lambda progress: None) -> Digest:
    """What a store holds now, read at one revision."""
    at = await store.range(b"\0", end=b"\0", limit=1)
    found = Digest()
    async for page in pages(store, at.revision):
        found.extend(page)
        report(Progress(phase="verify", done=found.count, total=at.count))
    return found


def _parts(ops: Sequence[Op[bytes]]) -> list[list[Op[bytes]]]:
    """As many operations a transaction as etcd takes, in number and in bytes."""
    parts, size, keys = list[list[Op[bytes]]](), 0, set[bytes]()
    for op in ops:
        assert isinstance(op, PutOp | DeleteOp)
        cost = len(op.key) + (len(op.value) if isinstance(op, PutOp) else 0)
        if not parts or len(parts[-1]) == BATCH or size + cost > BYTES or op.key in keys:
            parts.append([])
            size, keys = 0, set()
        parts[-1].append(op)
        keys.add(op.key)
        size += cost
    return parts
