"""Several machines' simulated switches with tunnels between them: what becomes of a packet in the whole cluster.

It executes what `pipeline` compiled, in pure Python, so that properties of all packets in all fabrics can be tested
without a kernel (tests/netd/ovs/test_properties.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..fabric import Fabric
from ..model import Endpoint, Tunnel
from .flow import Flow
from .packets import Packet
from .pipeline import compile_flows
from .scope import Ofports
from .simulated import Output, Switch

HOPS = 8


@dataclass(frozen=True, slots=True)
class Delivery:
    """A packet that left a machine's switch by a port: a container's or a gateway's."""

    machine: str
    port: int
    packet: Packet


@dataclass(slots=True)
class Machine:
    """A switch with its tunnel ports, and where it takes tunnels."""

    switch: Switch
    tunnels: Mapping[Tunnel, int] = field(default_factory=dict)
    endpoint: Endpoint | None = None


class Simulator:
    """The machines by name."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}

    @classmethod
    def of(cls, fabric: Fabric, ofports: Mapping[str, Ofports], zones: Mapping[str, int]) -> "Simulator":
        """The machines of a fabric that have numbers for their ports."""
        made = cls()
        for name, numbers in ofports.items():
            flows = compile_flows(fabric, name, numbers, zones=zones).values()
            made.add(name, flows, numbers.tunnels, fabric.endpoints.get(name))
        return made

    def add(self, name: str, flows: Iterable[Flow], tunnels: Mapping[Tunnel, int], endpoint: Endpoint | None) -> None:
        """A machine."""
        self.machines[name] = Machine(Switch(flows), tunnels, endpoint)

    def send(self, machine: str, in_port: int, packet: Packet) -> list[Delivery]:
        """Where a packet comes out that a port of a machine sends. AssertionError: it goes round for ever."""
        found: list[Delivery] = []
        waiting = [(machine, in_port, packet, 0)]
        while waiting:
            name, number, current, hops = waiting.pop(0)
            here = self.machines[name]
            for output in here.switch.receive(current, number):
                spoken = next((kind for kind, port in here.tunnels.items() if port == output.port), None)
                if spoken is None:
                    found.append(Delivery(name, output.port, output.packet))
                    continue
                if hops == HOPS:
                    raise AssertionError(f"{packet} goes through more than {HOPS} tunnels")
                waiting += self._through(here, spoken, output, hops + 1)
        return found

    def _through(self, here: Machine, spoken: Tunnel, output: Output, hops: int) -> list[tuple[str, int, Packet, int]]:
        """Where a tunnel ends; nowhere when no machine has its address."""
        packet = output.packet
        if output.tunnel is None:
            raise AssertionError(f"{packet} is sent into a tunnel without an address")
        vni, target = output.tunnel
        for name, there in self.machines.items():
            if there.endpoint is None or here.endpoint is None or spoken not in there.tunnels:
                continue
            if target in (there.endpoint.inner, there.endpoint.address):
                # a tunnel inside the encrypted overlay comes from inside it
                source = here.endpoint.inner if target == there.endpoint.inner else here.endpoint.address
                sent = replace(packet, tunnel=(vni, source, target)) if source is not None else None
                return [(name, there.tunnels[spoken], sent, hops)] if sent is not None else []
        return []
