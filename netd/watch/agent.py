"""What this machine sees of tenants' networks, and what the other machines see, asked through the store.

Nothing here changes a network. What enters namespaces runs on threads; a question of another machine is answered only
about ports that are here, towards addresses that ports of the same tenant have.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hawser.store import Store

from ..agent import NetAgent
from ..drivers import netns
from ..errors import Invalid, NetError
from . import mesh as meshes
from . import metrics
from .drivers import page
from .drivers.asking import Asking
from .drivers.ping import probe
from .drivers.tracer import Tracer, Wish
from .matrix import Sample, packed, unpacked
from .mesh import Mesh

PATIENCE = 5.0  # seconds beyond what a question takes
LONGEST = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How often to ask: `count` times, `interval` seconds apart, each answer within `timeout` seconds."""

    count: int = 3
    interval: float = 0.2
    timeout: float = 1.0

    @property
    def takes(self) -> float:
        """Seconds, at most."""
        return self.count * self.interval + self.timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinged:
    """What was heard in a mesh, of ports' keys; `silent` are machines whose ports could not be made to ask, and why."""

    mesh: Mesh
    samples: tuple[Sample, ...]
    silent: Mapping[str, str]


class Watcher:
    """One machine's; `run` answers the others."""

    def __init__(self, store: Store, net: NetAgent) -> None:
        self._net = net
        self._asking = Asking(store, net.site.machine, {"ping": self._told_ping})
        self._tracer = Tracer(net, self._asking)

    async def run(self) -> None:
        """Answer other machines, until cancelled."""
        try:
            await self._asking.run()
        finally:
            self._tracer.close()

    async def trace(self, wish: Wish) -> dict[str, Any]:
        """Where a packet goes: what the model says, and where a real one was seen. NotFound, Invalid, NetError."""
        return await self._tracer.trace(wish)

    async def metrics(self) -> str:
        """Every counter of this machine's ports and policies, as Prometheus reads it."""
        samples, policies = await asyncio.to_thread(page.read, self._net.fabric, self._net.site)
        return metrics.render(samples, policies)

    async def ping(self, tenant: str, network: str | None, version: int | None, rounds: Rounds) -> Pinged:
        """Have every port of a network, or of a tenant, ask every other, on whichever machine. NotFound, Invalid."""
        _check(rounds)
        mesh = meshes.mesh(self._net.fabric, tenant, network, version)
        own, others = self._net.site.machine, mesh.sources()
        far = sorted(set(others) - {own})
        question = {"tenant": tenant, "network": network, "version": mesh.version, **asdict(rounds)}
        here, there = await asyncio.gather(
            self._probe(mesh, rounds), self._asking.ask(far, "ping", question, rounds.takes + PATIENCE)
        )
        samples, silent = list(here), dict[str, str]()
        for machine in far:
            try:
                heard = unpacked(there[machine])
            except (KeyError, IndexError, TypeError, ValueError):
                answer = there[machine]
                silent[machine] = str(answer) if isinstance(answer, NetError) else "its answer cannot be read"
                heard = []
            samples += [one for one in heard if {one.source, one.target} <= mesh.ports.keys()]
        return Pinged(mesh=mesh, samples=tuple(samples), silent=silent)

    async def _told_ping(self, question: Mapping[str, Any]) -> object:
        rounds = Rounds(**{name: question[name] for name in ("count", "interval", "timeout")})
        _check(rounds)
        mesh = meshes.mesh(self._net.fabric, question["tenant"], question["network"], question["version"])
        return packed(await self._probe(mesh, rounds))

    async def _probe(self, mesh: Mesh, rounds: Rounds) -> list[Sample]:
        """What this machine's ports hear, those that are gone meanwhile left out."""
        paths = {key: Path(mesh.ports[key].netns) for key in mesh.sources().get(self._net.site.machine, ())}

        def ask() -> list[Sample]:
            there = {key: path for key, path in paths.items() if netns.alive(path)}
            return probe(there, mesh.addresses, count=rounds.count, interval=rounds.interval, timeout=rounds.timeout)

        return await asyncio.to_thread(ask) if paths else []


def _check(rounds: Rounds) -> None:
    if rounds.takes > LONGEST:
        raise Invalid(f"ping for {rounds.takes:g} s: at most {LONGEST:g}; ask fewer times or sooner")
