"""`EtcdStore`: the store's contract over a cluster of etcd.

Each call is one of etcd's; who carries it, and how often it is tried, is the pool's (drivers/pool.py), watches are the
lines' (drivers/lines.py). A change that may be made twice without harm is made again when nobody answered: a lease is
granted under an id that we choose, so a second grant that finds it is the first one's answer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress

from ...embedded.keyspace import check_key, shown
from ...errors import Compacted, Future, LeaseExists, LeaseNotFound, NoKey
from ...kv import (
    Compare,
    DeleteOp,
    EventKind,
    KeyValue,
    Lease,
    LeaseStatus,
    Op,
    PutOp,
    RangeOp,
    RangeResult,
    Result,
    TxnOp,
    TxnResult,
    Watch,
)
from .. import etcd_pb2 as pb
from .. import services
from . import codec
from .calls import Calls, Watches
from .past import Past
from .retry import OutcomeUnknown

BEAT = 0.7  # seconds for one try to renew a lease, so that there is time for more before the shortest ends


class EtcdStore:
    """`Store[bytes]` on etcd. `calls` may be used for what the contract has no words for (upkeep.py, members.py,
    users.py). `choose` gives ids for leases, below 2^53."""

    def __init__(
        self,
        calls: Calls,
        watches: Watches,
        *,
        choose: Callable[[], int],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.calls = calls
        self._watches, self._choose, self._close = watches, choose, close
        self._past = Past(calls, watches)

    async def range(
        self, key: bytes, *, end: bytes | None = None, prefix: bool = False, limit: int = 0, revision: int = 0
    ) -> RangeResult[bytes]:
        return await self.read(RangeOp(key, end, prefix, limit, revision))

    async def read(self, op: RangeOp[bytes]) -> RangeResult[bytes]:
        """A range with everything that it can ask for. Future, Compacted."""
        try:
            response = await self.calls.call(services.RANGE, codec.range_request(op), repeatable=True)
        except Future:
            raise await self._past.future(op.key, op.revision) from None
        except Compacted:
            raise await self._past.compacted(op.key, op.revision) from None
        return codec.range_result(response)

    async def get(self, key: bytes) -> KeyValue[bytes] | None:
        check_key(key)
        found = await self.calls.call(services.RANGE, pb.RangeRequest(key=key), repeatable=True)
        return codec.entry(found.kvs[0]) if found.kvs else None

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> int:
        made = await self._put(PutOp(key, value, lease))
        assert isinstance(made, int)
        return made

    async def _put(self, op: PutOp[bytes]) -> Result[bytes]:
        try:
            return codec.put_result(op, await self.calls.call(services.PUT, codec.put_request(op)))
        except LeaseNotFound:
            raise _no_lease(op.lease) from None
        except NoKey:
            raise _no_key(op) from None

    async def delete(self, key: bytes, *, end: bytes | None = None, prefix: bool = False) -> int:
        count = await self.apply(DeleteOp(key, end, prefix))
        assert isinstance(count, int)
        return count

    async def txn(
        self, compares: Sequence[Compare[bytes]], then: Sequence[Op[bytes]], otherwise: Sequence[Op[bytes]] = ()
    ) -> TxnResult[bytes]:
        op = TxnOp(compares, then, otherwise)
        request = codec.txn_request(op)
        try:
            response = await self.calls.call(services.TXN, request, repeatable=_only_reads(op))
        except NoKey as error:
            kept = next((each for each in _puts(op) if each.ignore_value or each.ignore_lease), None)
            raise (error if kept is None else _no_key(kept)) from None
        except Compacted:
            raise await self._past.compacted(_a_key(op), 0) from None
        return codec.txn_result(op, response)

    async def apply(self, op: Op[bytes]) -> Result[bytes]:
        """One operation with everything that it can ask for, alone in its transaction."""
        if isinstance(op, RangeOp):
            return await self.read(op)
        if isinstance(op, PutOp):
            return await self._put(op)
        if isinstance(op, DeleteOp):
            return codec.delete_result(op, await self.calls.call(services.DELETE_RANGE, codec.delete_request(op)))
        return await self.txn(op.compares, op.then, op.otherwise)

    @asynccontextmanager
    async def watch(
        self,
        key: bytes,
        *,
        end: bytes | None = None,
        prefix: bool = False,
        from_revision: int | None = None,
        skips: Collection[EventKind] = (),
    ) -> AsyncIterator[Watch[bytes]]:
        """Events after entry, or from a revision on; through whatever happens to connections and members meanwhile."""
        request = codec.watch_request(key, end, prefix, skips)
        now, first = await self._past.begin(request.key, from_revision)
        async with self._watches.watch(request, first, known=first > now) as watcher:
            yield watcher

    async def lease_grant(self, ttl: float, *, id: int = 0) -> Lease:
        granted = codec.seconds(ttl)
        chosen = id or self._choose()
        request = pb.LeaseGrantRequest(TTL=granted, ID=chosen)
        again = False
        while True:
            try:
                response = await self.calls.call(services.LEASE_GRANT, request)
            except LeaseExists:
                if again and not id:
                    return await self.lease_keepalive(chosen)
                raise LeaseExists(f"lease {chosen} exists already; choose another id, or none") from None
            except OutcomeUnknown:
                if again or id:
                    raise
                again = True
                continue
            return Lease(id=response.ID, ttl=float(response.TTL))

    async def lease_keepalive(self, lease: int) -> Lease:
        request = pb.LeaseKeepAliveRequest(ID=lease)
        response = await self.calls.call(services.LEASE_KEEP_ALIVE, request, repeatable=True, attempt=BEAT)
        if response.TTL <= 0:
            raise _no_lease(lease)
        return Lease(id=lease, ttl=float(response.TTL))

    async def lease_revoke(self, lease: int) -> None:
        request = pb.LeaseRevokeRequest(ID=lease)
        try:
            await self.calls.call(services.LEASE_REVOKE, request)
        except LeaseNotFound:
            raise _no_lease(lease) from None
        except OutcomeUnknown:
            with suppress(LeaseNotFound):
                await self.calls.call(services.LEASE_REVOKE, request)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus[bytes]:
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=True)
        response = await self.calls.call(services.LEASE_TIME_TO_LIVE, request, repeatable=True)
        if response.TTL < 0 or not response.grantedTTL:
            raise _no_lease(lease)
        keys = tuple(sorted(response.keys))
        return LeaseStatus(id=lease, granted=float(response.grantedTTL), remaining=float(response.TTL), keys=keys)

    async def leases(self) -> tuple[int, ...]:
        response = await self.calls.call(services.LEASE_LEASES, pb.Empty(), repeatable=True)
        return tuple(sorted(each.ID for each in response.leases))

    async def compact(self, revision: int) -> None:
        try:
            await self.calls.call(services.COMPACT, pb.CompactionRequest(revision=revision))
        except Future:
            raise await self._past.future(b"\0", revision) from None
        except Compacted:
            late = await self._past.compacted(b"\0", revision)
            raise Compacted(f"revision {revision} is compacted already, as is {late.revision}", late.revision) from None
        except OutcomeUnknown:
            with suppress(Compacted):
                await self.calls.call(services.COMPACT, pb.CompactionRequest(revision=revision))

    async def close(self) -> None:
        """Finish what was accepted, then refuse everything. Again is nothing."""
        await self._close()


def _no_lease(lease: int) -> LeaseNotFound:
    return LeaseNotFound(f"lease {lease} does not exist; it has ended or was never granted")


def _no_key(op: PutOp[bytes]) -> NoKey:
    return NoKey(f"{shown(op.key)} does not exist, so there is no value or lease to keep; put it with one")


def _puts(op: TxnOp[bytes]) -> list[PutOp[bytes]]:
    found = list[PutOp[bytes]]()
    for each in (*op.then, *op.otherwise):
        if isinstance(each, PutOp):
            found.append(each)
        elif isinstance(each, TxnOp):
            found += _puts(each)
    return found


def _only_reads(op: TxnOp[bytes]) -> bool:
    """Whether a transaction changes nothing, so that it may be asked twice."""
    return all(
        isinstance(each, RangeOp) or (isinstance(each, TxnOp) and _only_reads(each))
        for each in (*op.then, *op.otherwise)
    )


def _a_key(op: TxnOp[bytes]) -> bytes:
    """A key that a transaction reads."""
    for each in (*op.then, *op.otherwise):
        if isinstance(each, RangeOp):
            return each.key
        if isinstance(each, TxnOp):
            return _a_key(each)
    return b""
