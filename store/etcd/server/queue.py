"""Waiting in line under a prefix, as etcd's concurrency package does it: everybody puts a key, PREFIX/LEASE in hex, and
whoever was there first has what the line is for. Who waits looks at the one before only, so an end wakes one.

Everything goes through the KV service as the caller, who needs the rights to it.
"""

import asyncio

from ...embedded.engine import Engine
from ...errors import Compacted
from ...kv import EventKind
from .. import etcd_pb2 as pb
from ..errors import Code, EtcdError
from .calls import Caller
from .kv import Kv
from .lease import Leases

TTL = 60
"""Seconds, of the lease of who brings none: etcd's session."""


class Queue:
    """What Lock and Election stand on."""

    def __init__(self, engine: Engine, kv: Kv, leases: Leases) -> None:
        self._engine, self._kv, self._leases = engine, kv, leases

    async def lease(self, lease: int, caller: Caller) -> int:
        """The caller's, or a new one."""
        if lease:
            return lease
        return (await self._leases.grant(pb.LeaseGrantRequest(TTL=TTL), caller)).ID

    async def enter(self, prefix: bytes, lease: int, value: bytes, caller: Caller) -> pb.TxnResponse:
        """Put the caller's key unless it is there; the second response is who is first. LeaseNotFound. Who is gone
        before this was answered is not in line either."""
        key = place(prefix, lease)
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=key))
        first = pb.RequestOp(request_range=first_of(prefix))
        absent = pb.Compare(key=key, target=pb.Compare.CREATE, create_revision=0)
        before = self._engine.revision
        try:
            return await self._kv.txn(
                pb.TxnRequest(compare=[absent], success=[put, first], failure=[get, first]), caller
            )
        except asyncio.CancelledError:
            newer = pb.Compare(key=key, target=pb.Compare.CREATE, result=pb.Compare.GREATER, create_revision=before)
            await self._leave(key, newer, caller)
            raise

    async def wait(self, prefix: bytes, revision: int, caller: Caller) -> pb.ResponseHeader:
        """Until nobody is left who was there before this revision."""
        before = pb.RangeRequest(
            key=prefix,
            range_end=after(prefix),
            limit=1,
            sort_target=pb.RangeRequest.CREATE,
            sort_order=pb.RangeRequest.DESCEND,
            max_create_revision=revision - 1,
        )
        while True:
            found = await self._kv.range(before, caller)
            if not found.kvs:
                return found.header
            try:
                async with self._engine.watch(
                    found.kvs[0].key, from_revision=found.header.revision + 1, skips={EventKind.PUT}
                ) as watch:
                    await anext(watch)
            except Compacted:
                continue

    async def leave(self, key: bytes, revision: int, caller: Caller) -> pb.TxnResponse:
        """Delete one's key, if it is still that one."""
        return await self._leave(key, same(key, revision), caller)

    async def _leave(self, key: bytes, still: pb.Compare, caller: Caller) -> pb.TxnResponse:
        delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        return await self._kv.txn(pb.TxnRequest(compare=[still], success=[delete]), caller)

    async def still(self, key: bytes, revision: int, caller: Caller) -> None:
        """EtcdError when the caller's lease ended while it waited."""
        found = await self._kv.range(pb.RangeRequest(key=key), caller)
        if not found.kvs or found.kvs[0].create_revision != revision:
            raise EtcdError(Code.UNKNOWN, "mutex: session is expired")


def place(prefix: bytes, lease: int) -> bytes:
    """The key of who has this lease."""
    return prefix + f"{lease:x}".encode()


def own_revision(entered: pb.TxnResponse) -> int:
    """Since when the caller's key is there."""
    if entered.succeeded:
        return entered.header.revision
    return entered.responses[0].response_range.kvs[0].create_revision


def same(key: bytes, revision: int) -> pb.Compare:
    """True while the key is the one that was made then."""
    return pb.Compare(key=key, target=pb.Compare.CREATE, create_revision=revision)


def first_of(prefix: bytes) -> pb.RangeRequest:
    """Who is first in line."""
    return pb.RangeRequest(
        key=prefix,
        range_end=after(prefix),
        limit=1,
        sort_target=pb.RangeRequest.CREATE,
        sort_order=pb.RangeRequest.ASCEND,
    )


def after(prefix: bytes) -> bytes:
    """The end of a prefix that ends in `/`."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
