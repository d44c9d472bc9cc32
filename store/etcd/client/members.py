"""A cluster's members: who they are, and changes of who they are, one at a time (etcd documentation, "Runtime
reconfiguration")."""

from collections.abc import Sequence
from dataclasses import dataclass

from .. import etcd_pb2 as pb
from .. import services
from .calls import Calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member; the name and the client URLs are empty until it has started. A learner does not vote."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool = False


class Members:
    """Calls about members. A change that nobody answered ends with `OutcomeUnknown`: list before trying again."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list(self, *, linearizable: bool = True) -> tuple[Member, ...]:
        """All members, by id. etcd 3.4 answers from what the asked member knows, whatever is said."""
        request = pb.MemberListRequest(linearizable=linearizable)
        response = await self._calls.call(services.MEMBER_LIST, request, repeatable=True)
        return _members(response.members)

    async def add(self, peer_urls: Sequence[str], *, learner: bool = False) -> Member:
        """Add one that will start at `peer_urls`. Conflict when they are taken, or the cluster is not well enough."""
        request = pb.MemberAddRequest(peerURLs=peer_urls, isLearner=learner)
        return _member((await self._calls.call(services.MEMBER_ADD, request)).member)

    async def promote(self, id: int) -> tuple[Member, ...]:
        """Let a learner vote; Conflict while it has not caught up, or is none. NotFound."""
        return _members((await self._calls.call(services.MEMBER_PROMOTE, pb.MemberRequest(ID=id))).members)

    async def remove(self, id: int) -> tuple[Member, ...]:
        """Remove one for good: its data is of no use afterwards. NotFound; Conflict when a quorum would be lost."""
        return _members((await self._calls.call(services.MEMBER_REMOVE, pb.MemberRequest(ID=id))).members)

    async def update(self, id: int, peer_urls: Sequence[str]) -> tuple[Member, ...]:
        """Tell where a member's peers find it. NotFound, Conflict."""
        request = pb.MemberUpdateRequest(ID=id, peerURLs=peer_urls)
        return _members((await self._calls.call(services.MEMBER_UPDATE, request)).members)


def _member(told: pb.Member) -> Member:
    return Member(
        id=told.ID,
        name=told.name,
        peer_urls=tuple(told.peerURLs),
        client_urls=tuple(told.clientURLs),
        learner=told.isLearner,
    )


def _members(told: Sequence[pb.Member]) -> tuple[Member, ...]:
    return tuple(sorted(map(_member, told), key=lambda member: member.id))
