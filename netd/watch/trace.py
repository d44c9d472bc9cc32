"""Where a packet goes, hop by hop, as a data plane tells it, and where one that was sent was last seen.

`Hops` is what a data plane has to give: on one machine, the hops of a flow in their order, and how often the flow's
packets came by while somebody looks. The machine where the packet begins asks the one that has its target for the rest.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Protocol

from ..fabric import Fabric
from ..model import Address, Port
from ..policy.decide import Oracle, Packet, Verdict
from .echo import REQUEST

ICMP = {4: "icmp", 6: "icmpv6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One probe: `proto` tcp, udp, icmp or icmpv6; `port` where it goes, 0 of ICMP; `ident` tells it from all others:
    the source port, of ICMP the identifier."""

    source: Address
    target: Address
    proto: str
    port: int
    ident: int

    @property
    def packet(self) -> Packet:
        """As policies see it."""
        icmp = self.proto in ICMP.values()
        return Packet(
            source=self.source,
            target=self.target,
            proto=self.proto,
            port=None if icmp else self.port,
            icmp_type=REQUEST[self.source.version] if icmp else None,
        )

    def plain(self) -> dict[str, Any]:
        """What `flow_of` reads back."""
        return {
            "source": str(self.source),
            "target": str(self.target),
            "proto": self.proto,
            "port": self.port,
            "ident": self.ident,
        }


def flow_of(plain: Mapping[str, Any]) -> Flow:
    """A flow from its plain form. ValueError, KeyError."""
    flow = Flow(
        source=ip_address(plain["source"]),
        target=ip_address(plain["target"]),
        proto=plain["proto"],
        port=int(plain["port"]),
        ident=int(plain["ident"]),
    )
    known = flow.proto in ("tcp", "udp", ICMP[flow.source.version])
    if not known or flow.source.version != flow.target.version or not (0 <= flow.port < 65536 > flow.ident >= 0):
        raise ValueError(f"{plain!r} is no flow")
    return flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One place on a machine that a packet comes by: `name` is its name there, `words` say what it is.

    `back`: on the answer's way. `seen` packets, None when that cannot be counted.
    """

    machine: str
    name: str
    words: str
    back: bool = False
    seen: int | None = None


class Hops(Protocol):
    """A data plane's, on one machine, with the fabric as of now."""

    def of(self, flow: Flow, source: Port, target: Port | Address) -> Sequence[Hop]:
        """This machine's hops, in order; none when the flow does not come by here."""
        ...

    def counting(
        self, flow: Flow, source: Port, target: Port | Address
    ) -> AbstractContextManager[Callable[[], Mapping[str, int]]]:
        """Count the flow's packets during the block, by the hops' names, and only look; leaves nothing behind. Blocks;
        NetError."""
        ...


def counted(hops: Iterable[Hop], seen: Mapping[str, int]) -> tuple[Hop, ...]:
    """The hops with what was seen there."""
    return tuple(replace(hop, seen=seen.get(hop.name)) for hop in hops)


def ordered(first: Sequence[Hop], last: Sequence[Hop]) -> tuple[Hop, ...]:
    """Hops of the machine where a packet begins and of the one where it ends, there and back."""
    there = [hop for hop in (*first, *last) if not hop.back]
    return (*there, *(hop for hop in (*last, *first) if hop.back))


def way(fabric: Fabric, source: Port, flow: Flow, target: Port | Address) -> tuple[Verdict, list[str]]:
    """What the model says of a flow of a port: the verdict, and the way in words."""
    oracle = Oracle(fabric, source.tenant)
    verdict = oracle.decide(flow.packet)
    return verdict, list(_way(fabric, oracle, source, flow, target))


def _way(fabric: Fabric, oracle: Oracle, source: Port, flow: Flow, target: Port | Address) -> Iterator[str]:
    own = fabric.networks[source.on]
    there = fabric.networks.get(target.on) if isinstance(target, Port) else oracle.network_of(target)
    if there is None:
        internal = "; the network is internal, so there is none" if own.internal else ""
        yield f"way: {flow.target} is no address of tenant {source.tenant}, so by the way out of {own.key}{internal}"
    elif there.key == own.key:
        nobody = "" if isinstance(target, Port) or target in own.gateways else f"; no port has {flow.target}"
        yield f"way: on one network, {own.key}{nobody}"
    else:
        routers = [
            router.key
            for key, router in sorted(fabric.routers.items())
            if router.tenant == source.tenant and {own.name, there.name} <= set(router.networks)
        ]
        joined = f"router {routers[0]} joins it to {there.key}" if routers else f"no router joins it to {there.key}"
        yield f"way: from {own.key}, {joined}"
    if isinstance(target, Port) and target.machine != source.machine:
        endpoint = fabric.endpoints.get(target.machine)
        at = f"at {endpoint.address}" if endpoint else "which has no tunnel endpoint now"
        assert there is not None
        yield f"tunnel: from machine {source.machine} to machine {target.machine} {at}, VNI {there.vni}"


def last_seen(hops: Sequence[Hop]) -> tuple[Hop | None, Hop | None]:
    """The last hop where the packet was seen on its way there, or the answer back, and the first after it where it was
    not; hops that cannot be counted are passed over."""
    known = [hop for hop in hops if hop.seen is not None]
    seen = [place for place, hop in enumerate(known) if hop.seen]
    if not seen:
        return None, known[0] if known else None
    after = known[seen[-1] + 1 :]
    return known[seen[-1]], after[0] if after else None
