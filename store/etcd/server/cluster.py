"""The Cluster service of a cluster that is one member: it can be listed. Members cannot be added: an embedded store
has no log to share; a cluster is made of etcd's own members."""

from ...auth import Need
from .. import etcd_pb2 as pb
from ..errors import Code, EtcdError
from .access import Access
from .calls import Caller
from .member import Member

ALONE = "hawser: an embedded store is a cluster of one; move its keys to an etcd cluster: hawser kv migrate"


class Cluster:
    """All but the list is refused as etcd refuses it to a member that is alone."""

    def __init__(self, member: Member, access: Access) -> None:
        self._member, self._access = member, access

    async def members(self, request: pb.MemberListRequest, caller: Caller) -> pb.MembersResponse:
        self._access.admit(caller, Need.USER)
        member = self._member
        own = pb.Member(ID=member.id, name=member.name, clientURLs=member.urls)
        return pb.MembersResponse(header=member.header(0), members=[own])

    async def add(self, request: pb.MemberAddRequest, caller: Caller) -> pb.MemberAddResponse:
        self._access.admit(caller, Need.ROOT)
        if not request.peerURLs or not all("://" in url for url in request.peerURLs):
            raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")
        raise EtcdError(Code.UNIMPLEMENTED, ALONE)

    async def remove(self, request: pb.MemberRequest, caller: Caller) -> pb.MembersResponse:
        self._own(request.ID, caller)
        raise EtcdError(Code.UNKNOWN, "etcdserver: re-configuration failed due to not enough started members")

    async def update(self, request: pb.MemberUpdateRequest, caller: Caller) -> pb.MembersResponse:
        self._own(request.ID, caller)
        raise EtcdError(Code.UNIMPLEMENTED, ALONE)

    async def promote(self, request: pb.MemberRequest, caller: Caller) -> pb.MembersResponse:
        self._own(request.ID, caller)
        raise EtcdError(Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member")

    def _own(self, member: int, caller: Caller) -> None:
        self._access.admit(caller, Need.ROOT)
        if member != self._member.id:
            raise EtcdError(Code.NOT_FOUND, "etcdserver: member not found")
