"""The client of etcd: `connect` gives the store's contract over a cluster, an `EtcdStore`; what else etcd can do is in
parts over its `calls`: `Upkeep`, `Members`, `Auth`, `Users`, `Roles`."""

from .drivers.connect import connect
from .endpoints import Endpoint, parse
from .members import Member, Members
from .retry import OutcomeUnknown
from .store import EtcdStore
from .tls import Tls
from .upkeep import Alarm, AlarmKind, Hash, MemberStatus, Snapshot, Upkeep
from .users import Auth, AuthStatus, Roles, Users

__all__ = [
    "Alarm",
    "AlarmKind",
    "Auth",
    "AuthStatus",
    "Endpoint",
    "EtcdStore",
    "Hash",
    "Member",
    "MemberStatus",
    "Members",
    "OutcomeUnknown",
    "Roles",
    "Snapshot",
    "Tls",
    "Upkeep",
    "Users",
    "connect",
    "parse",
]
