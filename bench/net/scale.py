"""10,000 ports on 100 machines: what one port's change costs each of them to compute, on both data planes.

Pure: no kernel, no store. Tenants have 10 networks, each with 100 ports spread over the machines, so that a machine has
to do with all of them; every tenant has a policy that selects half of its ports. A change is a port of another machine
that moves to a third, as the watch tells of it. The same is done with one tenant instead of ten, which shows what grows
with the number of ports; and everything compiled anew is what a change would cost otherwise.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from statistics import median, quantiles

from hawser.netd.changes import Change, affected
from hawser.netd.compile import compile_intent
from hawser.netd.fabric import Fabric
from hawser.netd.model import Direction, Endpoint, Kind, Network, Peer, Policy, Port, Rule, Selector, Tunnel, interface
from hawser.netd.ovs.pipeline import Pipeline
from hawser.netd.ovs.scope import Ofports
from hawser.netd.site import SWITCH, Site

from ..row import Row

MACHINES, NETWORKS, PORTS, CHANGES = 100, 10, 100, 100
MANY, FEW = 10, 1
SEEN = 5
"""Machines whose pipelines are kept at once, of the 100"""
Learn = Callable[[Port, Port], object]


def rows() -> list[Row]:
    """Both planes."""
    return [_row(kind) for kind in (Kind.BRIDGE, Kind.OVS)]


def _row(kind: Kind) -> Row:
    many, anew = _measure(kind, MANY)
    few, _ = _measure(kind, FEW)
    p99 = quantiles(many, n=100)[98]
    return Row(
        what=f"{MANY * NETWORKS * PORTS:,} ports on {MACHINES} machines, one moves: a machine's recompute, {kind}",
        ours=median(many) * 1000,
        unit="ms",
        need="< 50 ms a machine, work as the change",
        ok=p99 < 0.05 and median(many) < 2 * median(few),
        note=f"p99 {p99 * 1000:.2f}, worst {max(many) * 1000:.2f} of {len(many):,}; "
        f"with {FEW * NETWORKS * PORTS:,} ports {median(few) * 1000:.2f}; everything anew {anew * 1000:.0f}",
    )


def _measure(kind: Kind, tenants: int) -> tuple[list[float], float]:
    """Seconds of each machine's recompute, and of compiling everything on one of them."""
    chance = random.Random(tenants)
    fabric = _fabric(kind, tenants)
    machines = [f"m{number}" for number in range(MACHINES if kind is Kind.BRIDGE else SEEN)]
    began = time.perf_counter()
    learn = {machine: _learner(kind, fabric, machine) for machine in machines}
    anew = (time.perf_counter() - began) / len(machines)
    if kind is Kind.BRIDGE:
        anew = _anew(fabric)
    found: list[float] = []
    far = sorted(key for key, port in fabric.ports.items() if port.machine not in machines[:SEEN])
    for _ in range(CHANGES):
        before = fabric.ports[chance.choice(far)]
        after = replace(before, machine=f"m{chance.randrange(SEEN, MACHINES)}")
        fabric.drop_port(before.key)
        fabric.put_port(after)
        far[far.index(before.key)] = after.key
        for machine in machines:
            if machine not in (before.machine, after.machine):
                began = time.perf_counter()
                learn[machine](before, after)
                found.append(time.perf_counter() - began)
    return found, anew


def _learner(kind: Kind, fabric: Fabric, machine: str) -> Learn:
    """What a machine does with a port that was and is."""
    if kind is Kind.OVS:
        here = sorted(fabric.at(machine).values(), key=lambda port: port.id)
        ofports = Ofports(
            ports={port.id: number for number, port in enumerate(here, 100)},
            gateways={key: number for number, key in enumerate(sorted(fabric.networks), 10_000)},
            tunnels=dict.fromkeys(Tunnel, 1),
        )
        zones = {f"t{number}": number + 1 for number in range(MANY)}
        pipeline = Pipeline(fabric, machine, ofports, zones=zones)

        def switch(before: Port, after: Port) -> None:
            pipeline.change(before, None)
            pipeline.change(None, after)

        return switch
    site = _site(machine)

    def bridge(before: Port, after: Port) -> None:
        changes: list[Change] = [(before, None), (None, after)]
        if affected(fabric, site, changes) is None:
            raise RuntimeError(f"a change of {before.key} is compiled anew")

    return bridge


def _anew(fabric: Fabric) -> float:
    began = time.perf_counter()
    compile_intent(fabric, _site("m0"), {})
    return time.perf_counter() - began


def _site(machine: str) -> Site:
    numbers = {f"t{number}": number for number in range(MANY)} | {SWITCH: MANY}
    return Site(machine=machine, instance=machine, tenants="/run/tenants", mtu=1500, numbers=numbers)


def _fabric(kind: Kind, tenants: int) -> Fabric:
    fabric = Fabric()
    for number in range(MACHINES):
        address = ip_address(f"192.0.2.{number + 1}")
        fabric.endpoints[f"m{number}"] = Endpoint(machine=f"m{number}", address=address, mtu=1500)
    for number in range(tenants * NETWORKS):
        network = _network(kind, number)
        fabric.networks[network.key] = network
        for index in range(PORTS):
            fabric.put_port(_port(network, number, index))
    for number in range(tenants):
        policy = _policy(f"t{number}")
        fabric.policies[policy.key] = policy
    return fabric


def _network(kind: Kind, number: int) -> Network:
    inner = number % NETWORKS
    subnets = IPv4Network(f"10.{inner}.0.0/16"), IPv6Network(f"fd00:{inner:x}::/64")
    return Network(
        tenant=f"t{number // NETWORKS}",
        name=f"n{inner}",
        subnets=subnets,
        gateways=tuple(subnet.network_address + 1 for subnet in subnets),
        kind=kind,
        vni=number + 1,
        multicast=inner == 0,
    )


def _port(network: Network, number: int, index: int) -> Port:
    return Port(
        machine=f"m{(number * 7 + index) % MACHINES}",
        sandbox=f"s{number}-{index}",
        ifname="eth0",
        tenant=network.tenant,
        network=network.name,
        netns=f"/run/netns/s{number}-{index}",
        mac=f"02:00:{number:02x}:00:{index >> 8:02x}:{index & 255:02x}",
        addresses=tuple(interface(subnet.network_address + 2 + index, subnet) for subnet in network.subnets),
        labels={"app": "web" if index % 2 else "db"},
    )


def _policy(tenant: str) -> Policy:
    web, db = (Selector(labels={"app": name}) for name in ("web", "db"))
    rule = Rule(direction=Direction.INGRESS, peers=(Peer(ports=web),), proto="tcp", ports=((5432, 5432),))
    return Policy(tenant=tenant, name="db", applies=db, directions=(Direction.INGRESS,), rules=(rule,))
