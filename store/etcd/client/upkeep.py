"""What keeps a cluster well: status, alarms, defragmenting, hashes, snapshots, moving the leader.

Most of it is about one member, so it is asked of one endpoint and of no other when that fails.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from ...errors import NotFound, StoreError, Unavailable
from .. import etcd_pb2 as pb
from .. import services
from ..errors import EtcdError, meant
from .calls import Calls
from .endpoints import Endpoint
from .transport import Failed, Stream

DEFRAGMENT_WITHIN = 60.0
CORRUPT, NOSPACE = pb.AlarmType.CORRUPT, pb.AlarmType.NOSPACE
SnapshotStream = Stream[pb.Empty, pb.SnapshotResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """One member as it sees itself: sizes in bytes, revision and raft's term and indexes; `leader` is 0 where it knows
    none."""

    endpoint: Endpoint
    cluster: int
    member: int
    version: str
    size: int
    in_use: int
    leader: int
    revision: int
    term: int
    index: int
    applied: int
    learner: bool
    errors: tuple[str, ...]


class AlarmKind(StrEnum):
    NOSPACE = "nospace"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a member raised; it stays until it is disarmed."""

    member: int
    kind: AlarmKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash:
    """Of all keys and their history from the compacted revision to `revision`: equal on members that are alike."""

    endpoint: Endpoint
    hash: int
    revision: int
    compacted: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A member's database as it was at one moment, followed by its sha256: `total` bytes in all, in `parts`."""

    total: int
    parts: AsyncIterator[bytes]


class Upkeep:
    """Calls that keep a cluster well. All may raise Unavailable and Denied."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where members are to be asked."""
        return self._calls.endpoints

    async def status(self, endpoint: Endpoint, *, timeout: float | None = None) -> MemberStatus:
        """One member's."""
        told = await self._calls.call(services.STATUS, pb.Empty(), repeatable=True, at=endpoint, timeout=timeout)
        return MemberStatus(
            endpoint=endpoint,
            cluster=told.header.cluster_id,
            member=told.header.member_id,
            version=told.version,
            size=told.dbSize,
            in_use=told.dbSizeInUse,
            leader=told.leader,
            revision=told.header.revision,
            term=told.raftTerm,
            index=told.raftIndex,
            applied=told.raftAppliedIndex,
            learner=told.isLearner,
            errors=tuple(told.errors),
        )

    async def alarms(self) -> tuple[Alarm, ...]:
        """The cluster's, sorted."""
        response = await self._calls.call(services.ALARM, pb.AlarmRequest(), repeatable=True)
        kinds = {NOSPACE: AlarmKind.NOSPACE, CORRUPT: AlarmKind.CORRUPT}
        found = (Alarm(each.memberID, kinds[each.alarm]) for each in response.alarms if each.alarm in kinds)
        return tuple(sorted(found, key=lambda alarm: (alarm.member, alarm.kind)))

    async def disarm(self) -> tuple[Alarm, ...]:
        """Take back every alarm; returns them. One whose cause is still there is raised again."""
        armed = await self.alarms()
        for alarm in armed:
            kind = NOSPACE if alarm.kind is AlarmKind.NOSPACE else CORRUPT
            off = pb.AlarmRequest.AlarmAction.DEACTIVATE
            request = pb.AlarmRequest(action=off, memberID=alarm.member, alarm=kind)
            await self._calls.call(services.ALARM, request, repeatable=True)
        return armed

    async def defragment(self, endpoint: Endpoint, *, timeout: float = DEFRAGMENT_WITHIN) -> None:
        """Give the space of what is no longer kept back to the disk; the member answers nobody meanwhile."""
        await self._calls.call(services.DEFRAGMENT, pb.Empty(), at=endpoint, timeout=timeout)

    async def hash(self, endpoint: Endpoint, *, revision: int = 0) -> Hash:
        """A member's, as of a revision (0: now). Over the gateway etcd 3.4 gives another hash, of the whole file."""
        request = pb.HashKVRequest(revision=revision)
        told = await self._calls.call(services.HASH_KV, request, repeatable=True, at=endpoint)
        asked = revision or told.header.revision
        return Hash(endpoint=endpoint, hash=told.hash, revision=asked, compacted=told.compact_revision)

    @asynccontextmanager
    async def snapshot(self, endpoint: Endpoint | None = None) -> AsyncIterator[Snapshot]:
        """A copy of a member's database while it goes on. Unavailable, also when it breaks off."""
        try:
            async with self._calls.stream(services.SNAPSHOT, at=endpoint) as (stream, _, _):
                await stream.send(pb.Empty())
                first = await stream.receive()
                if first is None:
                    raise Unavailable("etcd sent no snapshot; try again")
                yield Snapshot(first.remaining_bytes + len(first.blob), _parts(first, stream))
        except (EtcdError, Failed) as failure:
            raise _broken(failure) from None

    async def move_leader(self, member: int) -> None:
        """Make a member the leader; the one that is must be among the endpoints. NotFound, Conflict."""
        seen = []
        for endpoint in self.endpoints:
            try:
                seen.append(await self.status(endpoint))
            except StoreError:
                continue
        leader = next((each for each in seen if each.leader == each.member), None)
        if leader is None:
            raise NotFound("no endpoint is the leader's; give the endpoints of all members")
        request = pb.MoveLeaderRequest(targetID=member)
        await self._calls.call(services.MOVE_LEADER, request, at=leader.endpoint)


async def _parts(first: pb.SnapshotResponse, stream: SnapshotStream) -> AsyncIterator[bytes]:
    yield first.blob
    while (part := await stream.receive()) is not None:
        yield part.blob


def _broken(failure: EtcdError | Failed) -> StoreError:
    if isinstance(failure, EtcdError):
        return meant(failure.code, failure.text)
    return Unavailable(f"the snapshot broke off ({failure.reason}); take it again")
