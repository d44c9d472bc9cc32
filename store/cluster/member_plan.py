"""Which etcd member to add, promote or remove next, so that a cluster gets and keeps the members it wants.

One safe step at a time, from what is seen now; done, look again. A step never costs a quorum that was there: a member
begins as a learner (which does not vote), is promoted when it has caught up, and a member that runs is removed only
when there are more voters than wanted. What does not answer is left alone for `patience` seconds, for it may come back
with its data; then it is removed before its replacement is added, as etcd advises (runtime reconfiguration) and
demands: it adds nobody while a voter is not connected for five seconds. It is removed only where there is a
replacement, or where fewer voters bear more failures. Without a quorum nothing is done: etcd would refuse, and a person
must decide. Voters are an odd number where that can be: two bear no more failures than one, and
are twice as likely to have one; so a learner without a partner waits, and holds a copy of the data meanwhile. A member
on a draining machine is replaced first and then removed. etcd 3.4 has one learner at most, so there is one here.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from ..errors import Invalid
from .members import Host, Member, Step, Verb, quorum

PATIENCE = 300.0
SETTLE = 5.0


def next_step(
    size: int,
    hosts: Collection[Host],
    members: Collection[Member],
    *,
    now: float,
    patience: float = PATIENCE,
    settle: float = SETTLE,
) -> Step:
    """The one step to take now towards `size` voters (1, 3, 5 or 7, else Invalid). What does not answer for `patience`
    seconds is given up; all voters answer for `settle` seconds (etcd's HealthInterval) before a step that etcd takes
    only then."""
    if size not in (1, 3, 5, 7):
        raise Invalid(f"{size} etcd members: use 1, 3, 5 or 7")
    view = _View(size, hosts, members, now, patience, settle)
    if not members:
        return Step(verb=Verb.NONE, reason="there is no etcd member: the first one is started, not added")
    if len(view.well) < quorum(len(view.voters)):
        seen, needed = f"{len(view.well)} of {len(view.voters)} voters answer", quorum(len(view.voters))
        reason = f"no quorum: {seen} and {needed} must: start the others, or restore a snapshot"
        return Step(verb=Verb.NONE, reason=reason)
    for rule in _RULES:
        if step := rule(view):
            return step
    return _rest(view)


class _View:
    """What is there, sorted and counted: voters that answer (`well`) or not (`ill`), for too long (`dead`), those whose
    machine may keep them (`staying`), and machines that could have a member (`free`)."""

    def __init__(
        self,
        size: int,
        hosts: Collection[Host],
        members: Collection[Member],
        now: float,
        patience: float,
        settle: float,
    ) -> None:
        self.size, self.now, self.patience = size, now, patience
        self.hosts = {host.machine: host for host in sorted(hosts, key=lambda host: host.machine)}
        self.members = sorted(members, key=lambda member: member.id)
        self.voters = [member for member in self.members if not member.learner]
        self.learners = [member for member in self.members if member.learner]
        self.well = [member for member in self.voters if member.healthy]
        self.ill = [member for member in self.voters if not member.healthy]
        self.dead = [member for member in self.ill if self.overdue(member)]
        others = self.well if len(self.voters) > 1 else []
        self.settled = max((member.since + settle for member in others), default=now)
        self.staying = [member for member in self.voters if self.stays(member)]
        self.free = self._free()

    def host(self, member: Member) -> Host | None:
        """The machine a member is on, while it is there."""
        return self.hosts.get(self.machine(member))

    def machine(self, member: Member) -> str:
        """Whose a member is: by its name, or before it has one by its URLs; empty when nobody knows."""
        if member.name:
            return member.name
        urls = set(member.peer_urls)
        return next((machine for machine, host in self.hosts.items() if urls & set(host.peer_urls)), "")

    def stays(self, member: Member) -> bool:
        host = self.host(member)
        return host is None or host.willing

    def zone(self, member: Member) -> str:
        host = self.host(member)
        return host.zone if host else ""

    def overdue(self, member: Member) -> bool:
        return not member.healthy and self.now >= member.since + self.patience

    def silence(self, member: Member) -> str:
        return f"has not answered for {self.now - member.since:.0f} s"

    def _free(self) -> Sequence[Host]:
        taken = {self.machine(member) for member in self.members}
        zones = Counter(self.zone(member) for member in self.members if self.host(member))
        free = [host for host in self.hosts.values() if host.willing and host.machine not in taken]
        return sorted(free, key=lambda host: (zones[host.zone], host.machine))


def _lost_learner(view: _View) -> Step | None:
    for member in view.learners:
        if view.overdue(member):
            return _remove(view, member, f"the learner {view.silence(member)}")
        if not view.stays(member):
            return _remove(view, member, "its machine is draining, and it is but a learner")
    return None


def _surplus_voter(view: _View) -> Step | None:
    """More than wanted: the dead go first, then those on draining machines, the leader last, from the fullest zone."""
    if len(view.voters) <= view.size or (view.ill and not view.dead):
        return None
    zones = Counter(view.zone(member) for member in view.voters)

    def precious(member: Member) -> tuple[bool, bool, bool, int, str, int]:
        crowd = -zones[view.zone(member)]
        return (member not in view.dead, view.stays(member), member.leader, crowd, view.machine(member), member.id)

    victim = min(view.voters, key=precious)
    if victim.healthy and view.now < view.settled:
        return _unsettled(view)
    return _remove(view, victim, f"{len(view.voters)} voters are more than the {view.size} wanted")


def _dead_voter(view: _View) -> Step | None:
    if not view.dead:
        return None
    member = min(view.dead, key=lambda member: (member.since, member.id))
    host = view.host(member)
    if view.learners or view.free or (host is not None and host.willing):
        return _remove(view, member, f"it {view.silence(member)} and can be replaced")
    if quorum(len(view.voters) - len(view.dead)) < quorum(len(view.voters)):
        return _remove(view, member, f"it {view.silence(member)}; without it fewer voters must agree")
    return None


def _moved(view: _View) -> Step | None:
    for member in view.members:
        host = view.hosts.get(member.name)
        if host is not None and set(host.peer_urls) != set(member.peer_urls):
            return Step(
                verb=Verb.UPDATE,
                member=member.id,
                machine=host.machine,
                peer_urls=host.peer_urls,
                reason=f"its machine was at {', '.join(member.peer_urls)} before",
            )
    return None


def _growth(view: _View) -> Step | None:
    if len(view.staying) >= view.size or len(view.voters) > view.size:
        return None
    if view.learners:
        return _promotion(view, view.learners[0])
    if not view.free or view.ill:
        return None
    if view.now < view.settled:
        return _unsettled(view)
    host = view.free[0]
    reason = f"{len(view.staying)} of the {view.size} voters wanted are there"
    return Step(verb=Verb.ADD, machine=host.machine, peer_urls=host.peer_urls, reason=reason)


def _promotion(view: _View, learner: Member) -> Step:
    more = len(view.voters) + 1
    if not learner.healthy:
        return _wait(view, learner, "the learner on it does not answer yet", learner.since + view.patience)
    if not learner.synced:
        return _wait(view, learner, "the learner on it is catching up with the leader")
    going = len(view.voters) - len(view.staying)
    if more % 2 == 0 and more <= view.size and not view.free and not going:
        return _wait(view, learner, f"its learner waits for one more machine: {more} voters bear no more failures")
    return Step(verb=Verb.PROMOTE, member=learner.id, machine=view.machine(learner), reason="the learner has caught up")


def _surplus_learner(view: _View) -> Step | None:
    if view.learners and not view.ill and len(view.staying) >= view.size:
        return _remove(view, view.learners[0], f"all {view.size} voters wanted are there without this learner")
    return None


_RULES: tuple[Callable[[_View], Step | None], ...] = (
    _lost_learner,
    _surplus_voter,
    _dead_voter,
    _moved,
    _growth,
    _surplus_learner,
)


def _rest(view: _View) -> Step:
    waiting = [member for member in view.ill if member not in view.dead]
    if waiting:
        first = min(waiting, key=lambda member: (member.since, member.id))
        return _wait(view, first, "its member does not answer; it may come back", first.since + view.patience)
    if view.dead:
        reason = f"its member {view.silence(view.dead[0])} and no machine can replace it"
        return Step(verb=Verb.NONE, machine=view.machine(view.dead[0]), reason=reason)
    if len(view.staying) < view.size:
        reason = f"{len(view.staying)} of the {view.size} voters wanted are there and no machine is free"
        return Step(verb=Verb.NONE, reason=reason)
    return Step(verb=Verb.NONE, reason=f"{len(view.voters)} voters, as wanted")


def _unsettled(view: _View) -> Step:
    return Step(verb=Verb.WAIT, reason="every voter must have answered for a few seconds", until=view.settled)


def _remove(view: _View, member: Member, reason: str) -> Step:
    return Step(verb=Verb.REMOVE, member=member.id, machine=view.machine(member), reason=reason)


def _wait(view: _View, member: Member, reason: str, until: float | None = None) -> Step:
    return Step(verb=Verb.WAIT, machine=view.machine(member), member=member.id, reason=reason, until=until)
