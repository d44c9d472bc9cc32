"""The etcd members of a cluster, as seen: etcd's own list, which of them answer and since when, and who could be one.

A member is called like its machine. Before it has started etcd knows only its peer URLs, so by these it is matched.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

IN_SYNC = 0.9


class Verb(StrEnum):
    """What a step does; `wait` and `none` do nothing, one of them because something is under way."""

    ADD = "add"
    PROMOTE = "promote"
    REMOVE = "remove"
    UPDATE = "update"
    WAIT = "wait"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that is there and may run a member; `zone` is what fails as one; `willing` false: it is to lose it."""

    machine: str
    peer_urls: tuple[str, ...]
    zone: str = ""
    willing: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An etcd member as seen: of etcd's list, the name (the machine's id; empty until it has started) and the rest;
    since when it answers or does not (seconds; see `observed`); whether a learner has caught up."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    learner: bool = False
    leader: bool = False
    synced: bool = False
    healthy: bool = False
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next step and why; of `add`, `machine` and `peer_urls`; of `promote`, `remove` and `update`, `member`.
    `until`: when to look again at the latest, by time alone."""

    verb: Verb
    reason: str
    machine: str = ""
    member: int = 0
    peer_urls: tuple[str, ...] = ()
    until: float | None = None

    def __str__(self) -> str:
        what = f" {self.machine}" if self.machine else f" {self.member:x}" if self.member else ""
        return f"{self.verb}{what}: {self.reason}"


def quorum(voters: int) -> int:
    """How many of so many voters must agree."""
    return voters // 2 + 1


def in_sync(index: int, leader: int) -> bool:
    """Whether a learner at raft index `index` may be promoted: as etcd judges, at 90 % of the leader's."""
    return index >= leader * IN_SYNC


def observed(
    listed: Iterable[Member], before: Mapping[int, Member], healthy: Collection[int], now: float
) -> tuple[Member, ...]:
    """etcd's list with what is known of health: `since` stays while a member is as it was before."""
    found = []
    for member in listed:
        well, last = member.id in healthy, before.get(member.id)
        since = last.since if last is not None and last.healthy == well else now
        found.append(replace(member, healthy=well, since=since))
    return tuple(sorted(found, key=lambda member: member.id))


def initial_cluster(members: Iterable[Member], machine: str, peer_urls: Collection[str]) -> str:
    """etcd's --initial-cluster for a member that joins an existing cluster: all of the list, itself by its name."""
    pairs = []
    for member in sorted(members, key=lambda member: member.id):
        mine = set(member.peer_urls) & set(peer_urls)
        name = machine if mine else member.name or f"{member.id:x}"
        pairs += [f"{name}={url}" for url in member.peer_urls]
    return ",".join(pairs)
