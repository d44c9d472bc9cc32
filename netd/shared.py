"""What the parts of the agent have in common: records, claims, the kernel, and what fails.

Intent first: what is to go is first no longer wanted, then removed from the kernel, and only then are its addresses
given back. Whatever is cut off in between, a plan shows it and a round finishes it. `standing` is what the kernel was
last known to hold: only a hint, by which an attachment makes what is missing and not what is there.
"""

import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from hawser.store.reconcile import Retries, Step, Verb

from . import rounds
from .claims import Claims
from .errors import NetError
from .fabric import Fabric
from .intent import Intent
from .model import DEFAULT_MTU, Address
from .policy.flush import changed, stale
from .site import Site
from .specs import Spec, TenantSpec, of_networks, rank
from .world import Kernel

T = TypeVar("T")


class Hands(Protocol):
    """Where the kernel is worked on."""

    def do(self, act: Callable[[Kernel], T]) -> Awaitable[T]:
        """Begin `act` now, after what was begun before; await the result. NetError when not open."""
        ...


class Plane(Protocol):
    """The switch of networks of kind `ovs`, brought to the fabric after the kernel was."""

    async def follow(
        self, fabric: Fabric, site: Site, *, thorough: bool = False, remade: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Only what differs from the last time, or `thorough` from what is there; `remade` are links that were made
        anew. Says by key what failed and why."""
        ...

    async def leave(self, site: Site) -> None:
        """Take away everything. NetError."""
        ...


@dataclass(slots=True, kw_only=True)
class Shared:
    """One node's; `underlay` is where it takes the others' tunnels; `mtu` is the uplink's, `underlay_mtu` the MTU there
    and `datapath` Open vSwitch's, as last seen; `wake` has the loop look now. `settled` are the tenants whose
    connections are known to be such as their policies allow: at first none, since nobody knows what the process before
    this one left undone."""

    instance: str
    machine: str
    rundir: Path
    ipv6: bool
    intent: Intent
    claims: Claims
    hands: Hands
    switch: Plane
    wake: Callable[[], None]
    retries: Retries = field(default_factory=Retries)
    mtu: int = DEFAULT_MTU
    underlay: Address | None = None
    underlay_mtu: int = DEFAULT_MTU
    datapath: str = ""
    standing: dict[str, Spec] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)

    @property
    def site(self) -> Site:
        """What is particular to this machine."""
        return Site(
            machine=self.machine,
            instance=self.instance,
            tenants=str(self.rundir / "tenants"),
            mtu=self.mtu,
            numbers=self.intent.numbers,
            datapath=self.datapath,
            switch=str(self.rundir / "switch"),
        )

    def missing(self, wanted: Mapping[str, Spec]) -> dict[str, Spec]:
        """Of what is wanted, what is not known to stand."""
        return {key: spec for key, spec in wanted.items() if self.standing.get(key) != spec}

    def done(self, steps: Sequence[Step[Spec]]) -> None:
        """Note what has been done."""
        self.settled -= changed(steps)
        for step in steps:
            if step.verb is Verb.DELETE:
                self.standing.pop(step.key, None)
            else:
                self.standing[step.key] = step.spec

    async def settle(self, tenants: Iterable[str]) -> dict[str, str]:
        """Cut the connections that policies allow no longer, of those of the tenants here of which that is not known to
        be done; says by key what failed. Half of the records cut nobody."""
        failures: dict[str, str] = {}
        for tenant in sorted({*tenants} - self.settled) if not self.intent.unreadable else ():
            if f"tenant:{tenant}" not in self.standing:
                continue
            try:
                await self.hands.do(functools.partial(_revise, self.intent.fabric, tenant))
                self.settled.add(tenant)
            except NetError as error:
                failures[f"connections:{tenant}"] = str(error)
        return failures

    async def remove(self, specs: Mapping[str, Spec]) -> None:
        """Remove these things, the last first, as far as they can be; raises the first failure, the rest is left to the
        rounds. What goes with its tenant's namespace is not removed by itself, but for tunnels and floating
        addresses, whose ends are the host's."""
        going = {spec.name for spec in specs.values() if isinstance(spec, TenantSpec)}
        within = {key for key, spec in specs.items() if getattr(spec, "tenant", None) in going and _goes_along(key)}
        steps = rounds.removal({key: spec for key, spec in specs.items() if key not in within})
        outcome = await self.hands.do(lambda kernel: rounds.run(steps, kernel.apply))
        self.done(outcome.done)
        for key in within:
            self.standing.pop(key, None)
        for error in outcome.failures.values():
            self.wake()
            raise error

    async def shed(self) -> None:
        """Remove what stands and nobody wants any more: networks and tenants whose last port went."""
        here = of_networks(self.standing)
        if self.intent.unreadable or here <= self.intent.fabric.present(self.machine):
            return
        wanted = self.intent.desired(self.site)
        unwanted = [(key, spec) for key, spec in self.standing.items() if key not in wanted]
        await self.remove(dict(sorted(unwanted, key=lambda item: rank(*item))))
        await self.switch.follow(self.intent.fabric, self.site)


def _revise(fabric: Fabric, tenant: str, kernel: Kernel) -> int:
    return kernel.revise(tenant, lambda found: stale(fabric, tenant, found))


def _goes_along(key: str) -> bool:
    return not key.startswith(("tunnel:", "clear:", "port:", "floating:"))
