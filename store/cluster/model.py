"""What a cluster is: its id, its machines, its etcd members, and that a machine belongs to exactly one.

Under /hawser/cluster/ the store keeps the cluster's record, the bundle of its CAs, one record a machine under that
machine's lease (so a machine that is gone is gone from here), the leader's key under its lease, join tokens (only
hashes of their secrets), and which machines are to run an etcd member. On its own disk a machine keeps its membership
(`cluster.json` in the data directory): with it, it finds the cluster again, and refuses a second one. Records are JSON;
fields that are not known are left alone, for a newer version may have written them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import PurePath
from typing import TypeVar

import msgspec

from ..errors import Conflict, Corrupt, Invalid
from .names import Address, address_problem, endpoint_problem, hash_problem, id_problem, refuse

T = TypeVar("T")
ROOT = "/hawser/cluster/"
CLUSTER = ROOT + "id"
CA = ROOT + "ca"
LEADER = ROOT + "leader"
MACHINES = ROOT + "machines/"
TOKENS = ROOT + "tokens/"
MEMBERS = ROOT + "members/"
MEMBERSHIP_FILE = "cluster.json"
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for what it cannot read"""
LEAST_PATIENCE, LEAST_LIFE = 5.0, 10.0


class Role(StrEnum):
    """What a machine does for the store: may run an etcd member, or only uses it."""

    MEMBER = "member"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster; `created` in seconds since the epoch; `ca` the hash of each CA it trusts; `members` how many etcd
    members it wants; `patience` how many seconds one may not answer before another takes its place; `life` of the
    machines' certificates, in seconds."""

    id: str
    created: float
    ca: tuple[str, ...]
    name: str = ""
    members: int = 1
    patience: float = 300.0
    life: float = 7 * 86_400.0

    def __post_init__(self) -> None:
        own = (
            None if self.patience >= LEAST_PATIENCE else f"patience {self.patience:g} s: at least {LEAST_PATIENCE:g}",
            None if self.life >= LEAST_LIFE else f"certificates for {self.life:g} s: at least {LEAST_LIFE:g}",
        )
        refuse("cluster", (id_problem(self.id, "id"), *map(hash_problem, self.ca), *own))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a machine has: CPUs, memory and disk in bytes."""

    cpus: float
    memory: int
    disk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What a machine runs; `etcd` is empty where it is not installed."""

    hawser: str
    kernel: str
    etcd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that is there; `addresses` in their canonical form; `started` is when its node process started, in
    seconds since the epoch; `draining`: it is to lose what it has and gets nothing new."""

    id: str
    addresses: tuple[str, ...]
    capacity: Capacity
    versions: Versions
    started: float
    role: Role = Role.CLIENT
    labels: Mapping[str, str] = field(default_factory=dict)
    draining: bool = False

    def __post_init__(self) -> None:
        refuse("machine", [id_problem(self.id, "id"), *map(address_problem, self.addresses)])

    @property
    def ips(self) -> tuple[Address, ...]:
        """Its addresses."""
        return tuple(map(ip_address, self.addresses))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """A machine that is to run an etcd member, written before the member is added and removed after it is removed."""

    machine: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    member: int = 0
    """etcd's id of it; 0 until it has one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Which cluster this machine is of, and how it finds it again; kept on the machine."""

    cluster: str
    machine: str
    role: Role
    endpoints: tuple[str, ...]
    ca: tuple[str, ...]
    joined: float

    def __post_init__(self) -> None:
        ids = (id_problem(self.cluster, "cluster id"), id_problem(self.machine, "machine id"))
        refuse("membership", (*ids, *map(endpoint_problem, self.endpoints), *map(hash_problem, self.ca)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """A cluster that is not in its store yet; kept on the machine that founds it."""

    cluster: Cluster


def machine_key(machine: str) -> str:
    """Where a machine's record is."""
    return _key(MACHINES, machine, "machine id")


def token_key(token: str) -> str:
    """Where a join token's record is."""
    return _key(TOKENS, token, "token id")


def member_key(machine: str) -> str:
    """Where it is kept that a machine is to run an etcd member."""
    return _key(MEMBERS, machine, "machine id")


def encode(record: object) -> bytes:
    """A record as JSON; paths as they are written."""
    return msgspec.json.encode(record, enc_hook=_as_text)


def decode(kind: type[T], value: bytes, where: str) -> T:
    """A record from JSON, types taken strictly. Corrupt names `where` and what is wrong with it."""
    try:
        return msgspec.json.decode(value, type=kind, dec_hook=_from_text)
    except (*UNREADABLE, Invalid) as error:
        raise Corrupt(f"{where} holds no {kind.__name__.lower()}: {error}") from error


def _as_text(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _from_text(kind: type, value: object) -> object:
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise NotImplementedError(kind.__name__)


def check_joins(current: Membership | None, cluster: str) -> None:
    """Whether the machine may join the cluster, or is of it already. Conflict when it is of another."""
    if current is not None and current.cluster != cluster:
        raise Conflict(
            f"this machine belongs to cluster {current.cluster} and cannot join {cluster} too: "
            "leave it first (hawser node leave)"
        )


def check_founds(current: Membership | None) -> None:
    """Whether the machine may found a cluster. Conflict when it is of one."""
    if current is not None:
        raise Conflict(
            f"this machine belongs to cluster {current.cluster} and cannot found another: start it without "
            "--cluster-init, or leave that one first (hawser node leave)"
        )


def check_store(current: Membership | None, found: Cluster | None, where: Sequence[str] = ()) -> None:
    """Whether the store the machine talks to, at `where`, is its own cluster's. Conflict when it is another's, or
    nobody's while the machine is of a cluster."""
    if current is None or (found is not None and found.id == current.cluster):
        return
    whose = f"cluster {found.id}" if found else "no cluster"
    raise Conflict(
        f"this machine belongs to cluster {current.cluster}, but the store at {', '.join(where or current.endpoints)} "
        f"is of {whose}: correct the endpoints, or leave the cluster (hawser node leave)"
    )


def _key(root: str, name: str, what: str) -> str:
    refuse("key", [id_problem(name, what)])
    return root + name
