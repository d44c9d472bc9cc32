"""Tracing: what the model says of a packet, then a real one, counted at each hop on the machines that it comes by.

The trace is made by the machine that has the source: another asks it. That one asks the target's machine to count while
it sends. Everything is told in plain values, which go through the store as they are.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from ...errors import Invalid, NetError, NotFound
from ...fabric import Fabric
from ...model import Address, Kind, Port
from ...policy.explain import explain, find
from ...site import Site
from ..trace import ICMP, Flow, Hop, Hops, counted, flow_of, last_seen, ordered, way
from .asking import Asking
from .hops import BridgeHops
from .shot import Shot

Planes = Mapping[Kind, Callable[[Fabric, Site], Hops]]
PLANES: Planes = {Kind.BRIDGE: BridgeHops}
SETTLE, KEPT, OPEN_MOST = 0.05, 30.0, 32
PATIENCE = 5.0
ENDS = ("delivered", "taken", "out")  # hops after which nothing of ours is in the way


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """From `source` to `target` (ports' ids or keys, or an address as target) by `proto` (tcp, udp, icmp); `version` of
    IP, None: whichever both have; answers within `timeout` seconds; not `live`: only what the model says."""

    source: str
    target: str
    tenant: str | None = None
    proto: str = "icmp"
    port: int = 0
    version: int | None = None
    timeout: float = 2.0
    live: bool = True


class Known(Protocol):
    """What is known of networks, and of this machine, as of now."""

    @property
    def fabric(self) -> Fabric: ...
    @property
    def site(self) -> Site: ...


class Tracer:
    """One machine's."""

    def __init__(self, net: Known, asking: Asking, planes: Planes = PLANES) -> None:
        self._net, self._asking, self._planes = net, asking, planes
        self._open: dict[str, tuple[ExitStack, Callable[[], Mapping[str, int]]]] = {}
        asking.answerers |= {"trace": self._told_trace, "count": self._told_count, "counted": self._told_counted}

    async def trace(self, wish: Wish) -> dict[str, Any]:
        """The trace as a document. NotFound, Invalid, NetError."""
        fabric, own = self._net.fabric, self._net.site.machine
        source = find(fabric, wish.source, wish.tenant)
        if not isinstance(source, Port):
            raise Invalid(
                f"{wish.source} is an address; a trace begins at a port: give a container, or sandbox:interface"
            )
        target = find(fabric, wish.target, source.tenant if _is_address(wish.target) else wish.tenant)
        if not isinstance(target, Port):
            target = _owner(fabric, source, target)
        if wish.live and source.machine != own:
            return await self._elsewhere(wish, source, target)
        document: dict[str, Any] = {"source": source.id, "machine": source.machine, "probe": None, "hops": []}
        if isinstance(target, Port) and target.tenant != source.tenant:
            lines = explain(fabric, source.key, target.key, wish.proto, wish.port or None)
            return {**document, "target": target.id, "allowed": False, "lines": lines}
        flow = _flow(wish, source, target)
        decided, lines = _decided(fabric, source, flow, target)
        document |= {"target": _shown(target), "allowed": decided, "lines": lines}
        return document | (await self._sent(wish, source, target, flow) if wish.live else {})

    async def _elsewhere(self, wish: Wish, source: Port, target: Port | Address) -> dict[str, Any]:
        """The trace as the source's machine tells it."""
        name = target.key if isinstance(target, Port) else str(target)
        question = asdict(wish) | {"source": source.key, "target": name, "tenant": source.tenant}
        answer = await self._asked(source.machine, "trace", question, wish.timeout + 2 * PATIENCE)
        if isinstance(answer, dict):
            return answer
        raise NetError(f"{source.id} is on machine {source.machine}, which must send the probe: {answer}")

    async def _asked(self, machine: str, kind: str, question: Mapping[str, Any], timeout: float) -> Any:
        """One machine's answer, or why there is none."""
        return (await self._asking.ask([machine], kind, question, timeout))[machine]

    async def _told_trace(self, question: Mapping[str, Any]) -> object:
        wish = Wish(**question)
        source = find(self._net.fabric, wish.source, wish.tenant)
        if not isinstance(source, Port) or source.machine != self._net.site.machine:
            raise NotFound(f"port {wish.source} is not here")
        return await self.trace(wish)

    async def _sent(self, wish: Wish, source: Port, target: Port | Address, like: Flow) -> dict[str, Any]:
        """A real packet, and where it was seen."""
        far = target.machine if isinstance(target, Port) and target.machine != source.machine else None
        notes: list[str] = []
        with await asyncio.to_thread(Shot, Path(source.netns), like.source, like.target, like.proto, like.port) as shot:
            there, name = await self._count_there(far, shot.flow, source, target, notes) if far else ((), "")
            here, seen, outcome = await asyncio.to_thread(self._fire, shot, source, target, wish.timeout, notes)
            if name:
                there = counted(there, await self._counted_there(str(far), name, notes))
        hops = ordered(counted(here, seen), there)
        last, missing = last_seen(hops)
        heard, words, seconds = outcome
        return {
            "arrived": heard or _ended(hops, like.proto),
            "probe": {"heard": heard, "words": words, "milliseconds": round(seconds * 1000, 3)},
            "hops": [asdict(hop) for hop in hops],
            "last": _placed(last),
            "missing": _placed(missing),
            "notes": notes,
        }

    def _hops(self, source: Port) -> Hops | None:
        network = self._net.fabric.networks[source.on]
        plane = self._planes.get(network.kind)
        return plane(self._net.fabric, self._net.site) if plane else None

    def _fire(
        self, shot: Shot, source: Port, target: Port | Address, timeout: float, notes: list[str]
    ) -> tuple[Sequence[Hop], Mapping[str, int], tuple[bool, str, float]]:
        """Send it while it is counted here; on a thread."""
        plane = self._hops(source)
        with ExitStack() as stack:
            read: Callable[[], Mapping[str, int]] = dict
            if plane is None:
                notes.append(f"hops of {source.on} cannot be counted: its data plane does not tell")
            else:
                try:
                    read = stack.enter_context(plane.counting(shot.flow, source, target))
                except NetError as error:
                    notes.append(f"hops on machine {source.machine} cannot be counted: {error}")
            outcome = shot.fire(timeout)
            return plane.of(shot.flow, source, target) if plane else (), read(), outcome

    async def _count_there(
        self, machine: str, flow: Flow, source: Port, target: Port | Address, notes: list[str]
    ) -> tuple[tuple[Hop, ...], str]:
        """Have the target's machine count; its hops, and what the counting is called there."""
        assert isinstance(target, Port)
        question = {"flow": flow.plain(), "source": source.key, "target": target.key}
        answer = await self._asked(machine, "count", question, PATIENCE)
        if isinstance(answer, dict):
            return tuple(Hop(**hop) for hop in answer["hops"]), str(answer["name"])
        notes.append(f"hops on machine {machine} are not counted: {answer}")
        return (), ""

    async def _counted_there(self, machine: str, name: str, notes: list[str]) -> Mapping[str, int]:
        answer = await self._asked(machine, "counted", {"name": name}, PATIENCE)
        if isinstance(answer, dict):
            return answer
        notes.append(f"machine {machine} did not tell what it counted: {answer}")
        return {}

    async def _told_count(self, question: Mapping[str, Any]) -> object:
        """Begin to count for another machine; ends by itself after KEPT seconds."""
        flow, fabric = flow_of(question["flow"]), self._net.fabric
        source, target = (fabric.ports.get(question[name]) for name in ("source", "target"))
        if source is None or target is None or source.tenant != target.tenant:
            raise NotFound("the ports are not known here yet; try again")
        if target.machine != self._net.site.machine or (plane := self._hops(target)) is None:
            raise NotFound(f"port {target.id} is not here, or its data plane does not tell")
        if len(self._open) >= OPEN_MOST:
            raise NetError("too many traces at once; try again")
        stack, name = ExitStack(), f"{flow.ident}-{source.key}"
        await self._close(name)
        read = await asyncio.to_thread(stack.enter_context, plane.counting(flow, source, target))
        self._open[name] = stack, read
        asyncio.get_running_loop().call_later(KEPT, self._expire, name, stack)
        return {"name": name, "hops": [asdict(hop) for hop in plane.of(flow, source, target)]}

    async def _told_counted(self, question: Mapping[str, Any]) -> object:
        if question["name"] not in self._open:
            raise NotFound("nothing is counted under that name; it took too long")
        await asyncio.sleep(SETTLE)
        found = dict(await asyncio.to_thread(self._open[question["name"]][1]))
        await self._close(question["name"])
        return found

    def _expire(self, name: str, stack: ExitStack) -> None:
        if self._open.get(name, (None,))[0] is stack:
            self._open.pop(name)[0].close()

    async def _close(self, name: str) -> None:
        if name in self._open:
            await asyncio.to_thread(self._open.pop(name)[0].close)

    def close(self) -> None:
        """Count for nobody any more."""
        for stack, _ in self._open.values():
            stack.close()
        self._open = {}


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False


def _owner(fabric: Fabric, source: Port, address: Address) -> Port | Address:
    """The port of the source's tenant that has an address, or the address."""
    ports = (port for net in fabric.of_tenant(source.tenant) for port in fabric.on(net.key).values())
    return next((p for p in ports if not p.leaving and address in [one.ip for one in p.addresses]), address)


def _ended(hops: Sequence[Hop], proto: str) -> bool | None:
    """Whether a probe that nobody answered came to its end; None: of a datagram that nobody counts there it is not
    known."""
    ends = [hop.seen for hop in hops if hop.name in ENDS and hop.seen is not None]
    return any(ends) if ends or proto != "udp" else None


def _shown(target: Port | Address) -> str:
    return target.id if isinstance(target, Port) else str(target)


def _placed(hop: Hop | None) -> str | None:
    return None if hop is None else f"{hop.words}, on machine {hop.machine}"


def _flow(wish: Wish, source: Port, target: Port | Address) -> Flow:
    """The flow, of the first version that both have. Invalid."""
    asked = [one.ip for one in target.addresses] if isinstance(target, Port) else [target]
    if _is_address(wish.target):
        asked = [ip_address(wish.target)]
    for version in (4, 6) if wish.version is None else (wish.version,):
        for near in source.addresses:
            for far in asked:
                if near.version == far.version == version:
                    proto = ICMP[version] if wish.proto == "icmp" else wish.proto
                    return Flow(source=near.ip, target=far, proto=proto, port=wish.port, ident=0)
    raise Invalid(
        f"{source.id} and {_shown(target)} have no version of IP in common"
        + (f" that is IPv{wish.version}" if wish.version else "")
    )


def _decided(fabric: Fabric, source: Port, flow: Flow, target: Port | Address) -> tuple[bool, list[str]]:
    """The model's decision, and its words: the ends, the way, who was asked, the verdict."""
    verdict, ways = way(fabric, source, flow, target)
    packet = flow.packet
    told = explain(fabric, flow.source, flow.target, flow.proto, packet.port, packet.icmp_type, tenant=source.tenant)
    rest = [line for line in told[1:] if not line.startswith("way: ")]
    return verdict.allowed, [told[0], *ways, *rest]
