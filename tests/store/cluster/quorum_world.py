"""A world of machines that die and come back, with an etcd that obeys etcd's rules: what a plan is tried in."""

from dataclasses import dataclass, field, replace

from hawser.store.cluster import members
from hawser.store.cluster.member_plan import next_step
from hawser.store.cluster.members import Host, Member, Step, Verb, quorum

PATIENCE, SETTLE = 30.0, 5.0
TICK = 1.0


@dataclass(slots=True)
class World:
    """`alive` machines run the members they have; `lagging` learners have not caught up."""

    size: int
    machines: tuple[str, ...]
    alive: set[str] = field(default_factory=set)
    draining: set[str] = field(default_factory=set)
    lagging: set[str] = field(default_factory=set)
    listed: dict[int, Member] = field(default_factory=dict)
    seen: dict[int, Member] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    now: float = 0.0
    ids: int = 0

    @classmethod
    def founded(cls, size: int, count: int) -> "World":
        """One member, all machines alive."""
        machines = tuple(f"m{number}" for number in range(count))
        world = cls(size=size, machines=machines, alive=set(machines))
        world._add(Host(machine="m0", peer_urls=("https://m0:2380",)), learner=False)
        return world

    def hosts(self) -> list[Host]:
        return [
            Host(machine=name, peer_urls=(f"https://{name}:2380",), willing=name not in self.draining)
            for name in sorted(self.alive)
        ]

    def machine(self, member: Member) -> str:
        return member.peer_urls[0].removeprefix("https://").removesuffix(":2380")

    def look(self) -> tuple[Member, ...]:
        """What is observed: a member answers when its machine is alive, and a first answer gives it its name."""
        healthy = {id_ for id_, member in self.listed.items() if self.machine(member) in self.alive}
        for id_ in healthy:
            member = self.listed[id_]
            self.listed[id_] = replace(member, name=self.machine(member))
        found = members.observed(
            (replace(m, synced=self.machine(m) not in self.lagging) for m in self.listed.values()),
            self.seen,
            healthy,
            self.now,
        )
        self.seen = {member.id: member for member in found}
        return found

    def plan(self) -> Step:
        return next_step(self.size, self.hosts(), self.look(), now=self.now, patience=PATIENCE, settle=SETTLE)

    def act(self) -> Step:
        """One look, one step, and the next second."""
        step = self.plan()
        self.apply(step)
        self.now += TICK
        return step

    def apply(self, step: Step) -> None:
        """Do it as etcd does; AssertionError where etcd would refuse."""
        if step.verb in (Verb.WAIT, Verb.NONE):
            return
        assert self.has_quorum(), f"etcd cannot change without a quorum: {step}"
        self.steps.append(step)
        if step.verb is Verb.ADD:
            host = next(host for host in self.hosts() if host.machine == step.machine)
            urls = {url for member in self.listed.values() for url in member.peer_urls}
            assert not urls & set(host.peer_urls), "Peer URLs already exists"
            assert not any(member.learner for member in self.listed.values()), "too many learner members in cluster"
            assert all(self.machine(m) in self.alive for m in self.voters()), "unhealthy cluster"
            self._add(host, learner=True)
        elif step.verb is Verb.PROMOTE:
            member = self.listed[step.member]
            assert member.learner, "can only promote a learner member"
            assert self.machine(member) in self.alive - self.lagging, "... which is in sync with leader"
            self.listed[member.id] = replace(member, learner=False)
        elif step.verb is Verb.REMOVE:
            del self.listed[step.member]

    def voters(self) -> list[Member]:
        return [member for member in self.listed.values() if not member.learner]

    def well(self) -> int:
        return sum(self.machine(member) in self.alive for member in self.voters())

    def has_quorum(self) -> bool:
        return self.well() >= quorum(len(self.voters()))

    def tolerance(self) -> int:
        """How many more may die."""
        return self.well() - quorum(len(self.voters()))

    def _add(self, host: Host, *, learner: bool) -> None:
        self.ids += 1
        self.listed[self.ids] = Member(id=self.ids, name="", peer_urls=host.peer_urls, learner=learner)
