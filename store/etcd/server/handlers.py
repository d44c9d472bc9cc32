"""Every call of etcd's protocol and who answers it, over one engine."""

from dataclasses import dataclass

from ...auth import Tokens
from ...embedded.engine import Engine
from .. import services
from .access import Access
from .calls import Handlers
from .cluster import Cluster
from .kv import Kv
from .lease import Leases
from .maintenance import Maintenance
from .member import Member, member
from .watch import PROGRESS, Watches


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`progress`: seconds between progress notifications. `tokens`: how callers prove themselves (simple tokens).
    `certificates`: whether a client's certificate says who asks. `name` and `urls` are what the member list says."""

    name: str = "default"
    urls: tuple[str, ...] = ()
    progress: float = PROGRESS
    tokens: Tokens | None = None
    certificates: bool = False


async def handlers(engine: Engine, settings: Settings | None = None) -> Handlers:
    """Of an open engine, of either kind. Corrupt."""
    settings = settings or Settings()
    own = await member(engine, name=settings.name, urls=settings.urls)
    access = Access(engine, settings.tokens, certificates=settings.certificates)
    return table(engine, own, access, settings.progress)


def table(engine: Engine, member: Member, access: Access, progress: float) -> Handlers:
    """The services put together."""
    kv, leases = Kv(engine, member, access), Leases(engine, member, access)
    cluster, maintenance = Cluster(member, access), Maintenance(engine, member, access)
    watches = Watches(engine, member, access, progress=progress)
    return Handlers(
        {
            services.RANGE: kv.range,
            services.PUT: kv.put,
            services.DELETE_RANGE: kv.delete_range,
            services.TXN: kv.txn,
            services.COMPACT: kv.compact,
            services.LEASE_GRANT: leases.grant,
            services.LEASE_REVOKE: leases.revoke,
            services.LEASE_TIME_TO_LIVE: leases.time_to_live,
            services.LEASE_LEASES: leases.leases,
            services.MEMBER_LIST: cluster.members,
            services.MEMBER_ADD: cluster.add,
            services.MEMBER_REMOVE: cluster.remove,
            services.MEMBER_UPDATE: cluster.update,
            services.MEMBER_PROMOTE: cluster.promote,
            services.ALARM: maintenance.alarm,
            services.STATUS: maintenance.status,
            services.DEFRAGMENT: maintenance.defragment,
            services.HASH: maintenance.hash,
            services.HASH_KV: maintenance.hash_kv,
            services.MOVE_LEADER: maintenance.move_leader,
            services.DOWNGRADE: maintenance.downgrade,
        },
        {services.SNAPSHOT: maintenance.snapshot},
        {services.WATCH: watches.watch, services.LEASE_KEEP_ALIVE: leases.keep_alive},
    )
