"""The Lease service. A lease that is not there is no error when it is asked for or kept alive: its time is -1 or 0."""

from collections.abc import AsyncIterator

from ...auth import Need
from ...embedded.engine import Engine
from ...errors import LeaseNotFound
from .. import etcd_pb2 as pb
from .access import Access
from .calls import Caller, Send
from .member import Member

MIN_TTL = 2
"""In seconds: etcd's, with its usual heartbeat."""


class Leases:
    """Over one engine; times are whole seconds."""

    def __init__(self, engine: Engine, member: Member, access: Access) -> None:
        self._engine, self._member, self._access = engine, member, access

    async def grant(self, request: pb.LeaseGrantRequest, caller: Caller) -> pb.LeaseGrantResponse:
        self._access.admit(caller, Need.USER)
        lease = await self._engine.lease_grant(request.TTL, id=request.ID, minimum=MIN_TTL)
        return pb.LeaseGrantResponse(header=self._member.header(), ID=lease.id, TTL=int(lease.ttl))

    async def revoke(self, request: pb.LeaseRevokeRequest, caller: Caller) -> pb.Done:
        if self._access.enabled:
            self._access.guard.revoke_lease(self._access.who(caller), self._access.lease_keys(request.ID))
        await self._engine.lease_revoke(request.ID)
        return pb.Done(header=self._member.header())

    async def keep_alive(self, requests: AsyncIterator[pb.LeaseKeepAliveRequest], caller: Caller, send: Send) -> None:
        async for request in requests:
            self._access.admit(caller, Need.USER)
            try:
                ttl = int((await self._engine.lease_keepalive(request.ID)).ttl)
            except LeaseNotFound:
                ttl = 0
            await send(pb.LeaseKeepAliveResponse(header=self._member.header(), ID=request.ID, TTL=ttl))

    async def time_to_live(self, request: pb.LeaseTimeToLiveRequest, caller: Caller) -> pb.LeaseTimeToLiveResponse:
        if self._access.enabled:
            keys = self._access.lease_keys(request.ID) if request.keys else ()
            self._access.guard.lease_keys(self._access.admit(caller, Need.USER), keys)
        header = self._member.header()
        try:
            status = await self._engine.lease_time_to_live(request.ID)
        except LeaseNotFound:
            return pb.LeaseTimeToLiveResponse(header=header, ID=request.ID, TTL=-1)
        return pb.LeaseTimeToLiveResponse(
            header=header,
            ID=request.ID,
            TTL=int(status.remaining),
            grantedTTL=int(status.granted),
            keys=status.keys if request.keys else (),
        )

    async def leases(self, request: pb.Empty, caller: Caller) -> pb.LeaseLeasesResponse:
        """Those that end first first."""
        self._access.admit(caller, Need.USER)
        ends = {lease: self._engine.lessor.time_to_live(lease)[1] for lease in await self._engine.leases()}
        leases = [pb.LeaseStatus(ID=lease) for lease in sorted(ends, key=lambda lease: ends[lease])]
        return pb.LeaseLeasesResponse(header=self._member.header(), leases=leases)
