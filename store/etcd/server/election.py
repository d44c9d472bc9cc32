"""The Election service: who is first in line leads, with a value that it may change; others wait, or watch."""

import asyncio

from ...embedded.engine import Engine
from ...errors import Compacted
from ...kv import EventKind
from .. import etcd_pb2 as pb
from ..errors import Code, EtcdError
from .calls import Caller, Send
from .codec import kv_message
from .kv import Kv
from .member import Member
from .queue import Queue, after, first_of, own_revision, place, same


class Election:
    """Over the KV service."""

    def __init__(self, engine: Engine, member: Member, kv: Kv, queue: Queue) -> None:
        self._engine, self._member, self._kv, self._queue = engine, member, kv, queue

    async def campaign(self, request: pb.CampaignRequest, caller: Caller) -> pb.CampaignResponse:
        """Waits until the caller leads. Who gives up waiting leaves the line."""
        prefix = request.name + b"/"
        lease = await self._queue.lease(request.lease, caller)
        entered = await self._queue.enter(prefix, lease, request.value, caller)
        key, revision = place(prefix, lease), own_revision(entered)
        leader = pb.LeaderKey(name=request.name, key=key, rev=revision, lease=lease)
        try:
            if not entered.succeeded and entered.responses[0].response_range.kvs[0].value != request.value:
                await self._proclaim(leader, request.value, caller)
            await self._queue.wait(prefix, revision, caller)
        except (Exception, asyncio.CancelledError):
            await self._queue.leave(key, revision, caller)
            raise
        return pb.CampaignResponse(header=entered.header, leader=leader)

    async def proclaim(self, request: pb.ProclaimRequest, caller: Caller) -> pb.Done:
        if not request.HasField("leader"):
            raise EtcdError(Code.UNKNOWN, '"leader" field must be provided')
        return pb.Done(header=await self._proclaim(request.leader, request.value, caller))

    async def _proclaim(self, leader: pb.LeaderKey, value: bytes, caller: Caller) -> pb.ResponseHeader:
        put = pb.RequestOp(request_put=pb.PutRequest(key=leader.key, value=value, lease=leader.lease))
        done = await self._kv.txn(pb.TxnRequest(compare=[same(leader.key, leader.rev)], success=[put]), caller)
        if not done.succeeded:
            raise EtcdError(Code.UNKNOWN, "election: not leader")
        return done.header

    async def leader(self, request: pb.LeaderRequest, caller: Caller) -> pb.LeaderResponse:
        found = await self._kv.range(first_of(request.name + b"/"), caller)
        if not found.kvs:
            raise EtcdError(Code.UNKNOWN, "election: no leader")
        return pb.LeaderResponse(header=found.header, kv=found.kvs[0])

    async def observe(self, request: pb.LeaderRequest, caller: Caller, send: Send) -> None:
        """Who leads, and what they proclaim, as it changes; nothing while nobody does."""
        prefix = request.name + b"/"
        told = 0
        while True:
            found = await self._kv.range(first_of(prefix), caller)
            if found.kvs and found.kvs[0].mod_revision > told:
                told = found.kvs[0].mod_revision
                await send(pb.LeaderResponse(header=found.header, kv=found.kvs[0]))
            key = found.kvs[0].key if found.kvs else prefix
            end = None if found.kvs else after(prefix)
            try:
                await self._follow(key, end, found.header.revision + 1, send)
            except Compacted:
                continue

    async def _follow(self, key: bytes, end: bytes | None, revision: int, send: Send) -> None:
        """Tell what the leader proclaims until its key is gone; without one, until there is one."""
        async with self._engine.watch(key, end=end, from_revision=revision) as watch:
            async for batch in watch:
                for event in batch.events:
                    if end is not None or event.kind is EventKind.DELETE:
                        return
                    header = self._member.header(batch.revision)
                    await send(pb.LeaderResponse(header=header, kv=kv_message(event.kv)))

    async def resign(self, request: pb.ResignRequest, caller: Caller) -> pb.Done:
        """Nothing when the caller does not lead."""
        if not request.HasField("leader"):
            raise EtcdError(Code.UNKNOWN, '"leader" field must be provided')
        left = await self._queue.leave(request.leader.key, request.leader.rev, caller)
        return pb.Done(header=left.header)
