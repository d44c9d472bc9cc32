"""The Maintenance service: alarms, status, defragmentation, hashes, snapshots. As in etcd, its refusals are internal
texts with code 2, and some responses have no header."""

import asyncio

from ...auth import AuthError, Need
from ...auth.needs import answer
from ...embedded.engine import Engine
from .. import etcd_pb2 as pb
from ..errors import Code, EtcdError
from .access import Access
from .calls import Caller, Send
from .limits import SNAPSHOTS
from .member import TERM, Member

VERSION = "3.4.23"
"""The etcd whose protocol this is: clients look at it to know what they may ask."""


class Maintenance:
    """Over one engine."""

    def __init__(self, engine: Engine, member: Member, access: Access) -> None:
        self._engine, self._member, self._access = engine, member, access
        self._copies = asyncio.Semaphore(SNAPSHOTS)

    async def alarm(self, request: pb.AlarmRequest, caller: Caller) -> pb.AlarmResponse:
        """Alarms of the store itself; one of another member, or of another kind, can be neither raised nor ended."""
        asks = request.action == pb.AlarmRequest.GET
        self._admit(caller, Need.USER if asks else Need.ROOT)
        own = request.memberID == self._member.id and request.alarm == pb.NOSPACE
        if asks:
            found = self._engine.alarm and request.alarm in (pb.NONE, pb.NOSPACE)
        elif request.action == pb.AlarmRequest.ACTIVATE:
            found = own
            if own:
                await self._engine.raise_alarm()
        else:
            found = own and self._engine.alarm and request.action == pb.AlarmRequest.DEACTIVATE
            if found:
                await self._engine.disarm()
        alarms = [pb.AlarmMember(memberID=self._member.id, alarm=pb.NOSPACE)] if found else []
        return pb.AlarmResponse(alarms=alarms)

    async def status(self, request: pb.Empty, caller: Caller) -> pb.StatusResponse:
        self._admit(caller, Need.USER)
        size = await self._engine.size()
        revision = self._engine.revision
        return pb.StatusResponse(
            header=self._member.header(),
            version=VERSION,
            dbSize=size.allocated,
            dbSizeInUse=size.in_use,
            leader=self._member.id,
            raftIndex=revision,
            raftTerm=TERM,
            raftAppliedIndex=revision,
            errors=[f"memberID:{self._member.id} alarm:NOSPACE "] if self._engine.alarm else [],
        )

    async def defragment(self, request: pb.Empty, caller: Caller) -> pb.Done:
        self._admit(caller, Need.ROOT)
        await self._engine.defragment()
        return pb.Done()

    async def hash(self, request: pb.Empty, caller: Caller) -> pb.HashResponse:
        self._admit(caller, Need.ROOT)
        found, _ = await self._engine.hash()
        return pb.HashResponse(header=self._member.header(), hash=found)

    async def hash_kv(self, request: pb.HashKVRequest, caller: Caller) -> pb.HashKVResponse:
        self._admit(caller, Need.ROOT)
        found, compacted = await self._engine.hash(max(request.revision, 0))
        return pb.HashKVResponse(header=self._member.header(), hash=found, compact_revision=compacted)

    async def snapshot(self, request: pb.Empty, caller: Caller, send: Send) -> None:
        """The copy in parts, each saying how many bytes follow it, then the SHA-256 of all of it."""
        self._admit(caller, Need.ROOT)
        async with self._copies, self._engine.snapshot() as snapshot:
            left = snapshot.size
            async for chunk in snapshot.chunks:
                left = max(left - len(chunk), 0)
                await send(pb.SnapshotResponse(remaining_bytes=left, blob=chunk))

    async def move_leader(self, request: pb.MoveLeaderRequest, caller: Caller) -> pb.Done:
        """To the leader itself it is nothing; there is nobody else."""
        self._admit(caller, Need.ROOT)
        if request.targetID != self._member.id:
            raise EtcdError(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
        return pb.Done()

    async def downgrade(self, request: pb.DowngradeRequest, caller: Caller) -> pb.DowngradeResponse:
        raise EtcdError(Code.UNIMPLEMENTED, "unknown method Downgrade for service etcdserverpb.Maintenance")

    def _admit(self, caller: Caller, need: Need) -> None:
        try:
            self._access.admit(caller, need)
        except AuthError as error:
            raise EtcdError(*answer("Maintenance/", error)) from error
