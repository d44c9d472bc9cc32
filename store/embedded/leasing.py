"""An engine's leases: granted and ended by groups as all changes are, renewed in memory only."""

import secrets

from ..errors import Invalid, TtlTooLarge
from ..kv import Lease, LeaseStatus
from .base import Base

MAX_TTL = 9_000_000_000


class Leasing(Base):
    """The lease calls of the `Store` contract."""

    async def lease_grant(self, ttl: float, *, id: int = 0, minimum: float = 0) -> Lease:
        """`id` chooses the lease's (0: none does); Conflict when it lives already. A ttl below `minimum` is
        raised to it, whatever it is: the rule of etcd's servers, whose minimum is 2 s. NoSpace."""
        ttl = max(ttl, minimum) if minimum else ttl
        if not 0 < ttl <= MAX_TTL:
            raise (TtlTooLarge if ttl > MAX_TTL else Invalid)(
                f"a lease of {ttl} s makes no sense; give a ttl above 0 and at most {MAX_TTL}"
            )
        # never used before, so that nobody renews somebody else's; below 2^53 for JSON's sake
        lease = id or secrets.randbelow(2**53 - 1) + 1
        await self.groups.submit(lambda draft: draft.grant(lease, ttl))
        return Lease(id=lease, ttl=ttl)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus[bytes]:
        """How long a lease has, and its keys. NotFound when it has ended."""
        self.groups.check()
        granted, remaining = self.lessor.time_to_live(lease)
        keys = tuple(sorted(self.keys.leases.get(lease, ())))
        return LeaseStatus(id=lease, granted=granted, remaining=remaining, keys=keys)

    async def leases(self) -> tuple[int, ...]:
        """Every lease that has not ended, sorted."""
        self.groups.check()
        return tuple(sorted(self.lessor))

    async def lease_keepalive(self, lease: int) -> Lease:
        """Begin the lease's time anew. NotFound when it has ended."""
        self.groups.check()
        return Lease(id=lease, ttl=self.lessor.renew(lease))

    async def lease_revoke(self, lease: int) -> None:
        """End a lease and delete its keys in one revision. NotFound when it has ended."""
        await self.groups.submit(lambda draft: draft.end(lease))
