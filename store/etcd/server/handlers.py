"""Every call of etcd's protocol and who answers it, over one engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from ...auth import Tokens
from ...embedded.engine import Engine
from ...errors import StoreError
from .. import services
from ..errors import Code, EtcdError, told
from .access import Access
from .auth import Auth, Roles, Users
from .calls import AnyCall, Caller, Handlers, Unary
from .cluster import Cluster
from .election import Election
from .kv import Kv
from .lease import Leases
from .limits import Limits
from .lock import Lock
from .maintenance import Maintenance
from .member import Member, member
from .queue import Queue
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


async def handlers(engine: Engine, settings: Settings | None = None, limits: Limits | None = None) -> Handlers:
    """Of an open engine, of either kind. Corrupt."""
    settings = settings or Settings()
    own = await member(engine, name=settings.name, urls=settings.urls)
    access = Access(engine, settings.tokens, certificates=settings.certificates)
    return table(engine, own, access, settings.progress, limits or Limits())


def table(engine: Engine, member: Member, access: Access, progress: float, limits: Limits) -> Handlers:
    """The services put together."""
    kv, leases = Kv(engine, member, access), Leases(engine, member, access)
    maintenance = Maintenance(engine, member, access)
    watches = Watches(engine, member, access, progress=progress, most=limits.watches)
    queue = Queue(engine, kv, leases)
    election = Election(engine, member, kv, queue)
    return Handlers(
        {
            **_keys(kv, leases),
            **_operation(Cluster(member, access), maintenance),
            **_users(member, access),
            **_concurrency(Lock(kv, queue), election),
        },
        {services.SNAPSHOT: maintenance.snapshot, services.OBSERVE: election.observe},
        {services.WATCH: watches.watch, services.LEASE_KEEP_ALIVE: leases.keep_alive},
    )


def _keys(kv: Kv, leases: Leases) -> Mapping[AnyCall, Unary]:
    return {
        services.RANGE: kv.range,
        services.PUT: kv.put,
        services.DELETE_RANGE: kv.delete_range,
        services.TXN: kv.txn,
        services.COMPACT: kv.compact,
        services.LEASE_GRANT: leases.grant,
        services.LEASE_REVOKE: leases.revoke,
        services.LEASE_TIME_TO_LIVE: leases.time_to_live,
        services.LEASE_LEASES: leases.leases,
    }


def _operation(cluster: Cluster, maintenance: Maintenance) -> Mapping[AnyCall, Unary]:
    return {
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
    }


def _users(member: Member, access: Access) -> Mapping[AnyCall, Unary]:
    auth, users, roles = Auth(member, access), Users(member, access), Roles(member, access)
    return {
        services.AUTH_ENABLE: auth.enable,
        services.AUTH_DISABLE: auth.disable,
        services.AUTH_STATUS: auth.status,
        services.AUTHENTICATE: auth.authenticate,
        services.USER_ADD: users.add_user,
        services.USER_GET: users.user,
        services.USER_LIST: users.users,
        services.USER_DELETE: users.delete_user,
        services.USER_CHANGE_PASSWORD: users.change_password,
        services.USER_GRANT_ROLE: users.grant_role,
        services.USER_REVOKE_ROLE: users.revoke_role,
        services.ROLE_ADD: roles.add_role,
        services.ROLE_GET: roles.role,
        services.ROLE_LIST: roles.roles,
        services.ROLE_DELETE: roles.delete_role,
        services.ROLE_GRANT_PERMISSION: roles.grant_permission,
        services.ROLE_REVOKE_PERMISSION: roles.revoke_permission,
    }


def _concurrency(lock: Lock, election: Election) -> Mapping[AnyCall, Unary]:
    calls: Mapping[AnyCall, Unary] = {
        services.LOCK: lock.lock,
        services.UNLOCK: lock.unlock,
        services.CAMPAIGN: election.campaign,
        services.PROCLAIM: election.proclaim,
        services.LEADER: election.leader,
        services.RESIGN: election.resign,
    }
    return {call: _codeless(handler) for call, handler in calls.items()}


def _codeless(handler: Unary) -> Unary:
    """In etcd these services are clients of the others, and what those refuse comes through without its code."""

    async def answered(request: Any, caller: Caller) -> Message:
        try:
            return await handler(request, caller)
        except StoreError as error:
            raise EtcdError(Code.UNKNOWN, told(error).text) from error

    return answered
