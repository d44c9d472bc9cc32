"""Sandboxes and their ports: made all or nothing, taken away intent first.

An attachment claims its addresses and host ports and writes its record in one transaction; then only what the port
needs is made, whatever else exists. A port that goes keeps its claims until the kernel no longer has its addresses.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address

from hawser.store import StoreError
from hawser.store.reconcile import Step, Verb

from . import compile as compiler
from . import host_rules, model, parse, rounds, switching
from .claims import Wanted, fixed_addresses
from .errors import Conflict, Exists, Invalid, NetError, NotFound, Unavailable
from .intent import Sandbox
from .model import Address, Interface, Kind, Network, Port, Publish, Qos, Reservation
from .qos.specs import qos_key
from .shared import Shared
from .site import SWITCH, has_plane, mtu_of, no_plane
from .specs import RuleSpec, SandboxSpec, Spec, rank, stands
from .world import Kernel

LOOPBACK6 = IPv6Address("::1")
TUNNEL_PORTS = frozenset(switching.PORTS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What a sandbox got: its addresses, the gateways of its network, the interface, its MAC and MTU."""

    sandbox: str
    ifname: str
    tenant: str
    network: str
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mac: str
    mtu: int = model.DEFAULT_MTU
    publish: tuple[Publish, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    qos: Qos = field(default_factory=Qos)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for beside sandbox and network; a `reserved` port has its MAC, addresses, labels and limits."""

    ifname: str = "eth0"
    addresses: Sequence[str] = ()
    publish: Sequence[Publish] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    mac: str | None = None
    qos: Qos = field(default_factory=Qos)
    reserved: str | None = None

    def reserving(self, port: Reservation) -> "Wish":
        """The same for a reserved port."""
        addresses = tuple(str(address.ip) for address in port.addresses)
        labels = {**port.labels, **self.labels}
        return replace(self, mac=port.mac, addresses=addresses, labels=labels, qos=port.qos, reserved=port.key)


class Ports:
    """The sandboxes and ports of one node; one call at a time."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def make_sandbox(self, sandbox: str, *, borrowed: str = "", owner: str = "", passing: bool = False) -> str:
        """A new network namespace, or one `borrowed` from its path, which may be a `passing` one that soon leads
        elsewhere; returns the path where it is kept. Invalid, Exists."""
        shared = self._shared
        path = await self._room(sandbox)
        spec = SandboxSpec(path=path, borrowed=borrowed or None)
        steps = rounds.creation({f"sandbox:{sandbox}": spec}, "a new sandbox")
        # in whichever order a crash leaves record and namespace, the next round makes them one
        made = shared.hands.do(lambda kernel: rounds.all_or_nothing(steps, kernel.apply))
        try:
            source = path if passing else borrowed
            await shared.intent.add_sandbox(sandbox, Sandbox(path=path, owner=owner, source=source))
            await made
        except BaseException as error:
            with contextlib.suppress(NetError):
                await made
            await shared.hands.do(lambda kernel: rounds.undo(steps, kernel.apply))
            if not isinstance(error, Exists):
                await shared.intent.forget_sandbox(sandbox)
            raise
        return path

    async def adopt_link(self, sandbox: str, link: str, owner: str) -> None:
        """Know a link of the host's as a sandbox, for a port that it is to be. Invalid, Exists."""
        path = await self._room(sandbox)
        kept = Sandbox(path=path, owner=owner, source=f"{model.LINK}{link}")
        await self._shared.intent.add_sandbox(sandbox, kept)

    async def _room(self, sandbox: str) -> str:
        """Where a new sandbox is kept. Invalid, Exists."""
        parse.check_label(sandbox, "sandbox")
        if sandbox in self._shared.intent.sandboxes:
            raise Exists(f"sandbox {sandbox} exists; remove it first")
        if self._of(sandbox):  # its predecessor is not quite gone
            await self.remove_sandbox(sandbox)
        return str(self._shared.rundir / "netns" / sandbox)

    async def attach(self, sandbox: str, network: Network, wish: Wish) -> Attachment:
        """One more interface of a sandbox. Invalid, NotFound, Exists, Conflict, Unavailable; then nothing was done."""
        shared, intent, ifname = self._shared, self._shared.intent, wish.ifname
        if sandbox not in intent.sandboxes:
            raise NotFound(f"sandbox {sandbox} does not exist; make it first")
        if there := intent.port(f"{sandbox}:{ifname}"):
            if not there.leaving:
                raise Exists(f"{sandbox} has an interface {ifname}; choose another name")
            await self._take_away(there)
        kept = intent.sandboxes[sandbox]
        link = kept.source.removeprefix(model.LINK) if kept.source.startswith(model.LINK) else None
        if link is not None and network.kind is not model.Kind.BRIDGE:
            raise Unavailable(f"network {network.key} is of kind {network.kind}; links of the host are for bridges")
        wanted = Wanted(
            machine=shared.machine,
            sandbox=sandbox,
            ifname=ifname,
            netns=kept.path,
            mac=wish.mac or model.mac_of(shared.instance, f"{sandbox}:{ifname}"),
            fixed=fixed_addresses(network, wish.addresses),
            publish=checked(network, wish.publish),
            labels=wish.labels,
            qos=wish.qos,
            reserved=wish.reserved,
            link=link,
        )
        if wish.mac is not None:
            self._check_mac(network, wanted)
        self._check_crossing(network, wanted)
        await intent.number(network.tenant)
        await self._check_plane(network)
        return self._attachment(await self._attach(network, wanted))

    async def _check_plane(self, network: Network) -> None:
        """See that the switch has a number where it needs one. Unavailable, when the network's data plane is not
        here."""
        shared, fabric = self._shared, self._shared.intent.fabric
        if network.kind is Kind.OVS and not shared.datapath:
            raise Unavailable(no_plane(network))
        joined = [fabric.networks[key] for key in fabric.joined(network.key)]
        if shared.datapath == "netdev" and any(one.kind is Kind.OVS for one in joined):
            await shared.intent.number(SWITCH)

    def _check_mac(self, network: Network, wanted: Wanted) -> None:
        """Conflict when another port has a MAC that was chosen; those made from names are nobody else's."""
        for port in self._shared.intent.fabric.on(network.key).values():
            if port.mac == wanted.mac and port.key != wanted.key:
                raise Conflict(f"MAC {wanted.mac} is {port.sandbox}'s on {network.key}; choose another")

    def _check_crossing(self, network: Network, wanted: Wanted) -> None:
        """Conflict when a made number by which a published port crosses to the tenant is another's; the same host port
        twice is for the claims to tell."""
        made = {
            (one.proto, number): one
            for one in wanted.publish
            if (number := host_rules.inner_port(one)) >= host_rules.OWN_FIRST
        }
        if not made:
            return
        ports = self._shared.intent.fabric.at(self._shared.machine).values()
        others = [port for port in ports if port.tenant == network.tenant and port.id != wanted.id]
        for holder, other in [(port, publish) for port in others for publish in port.publish]:
            one = made.get((other.proto, host_rules.inner_port(other)))
            if one and (one.host_ip, one.host_port) != (other.host_ip, other.host_port):
                raise Conflict(f"cannot publish {one}: {holder.sandbox} has {other}, too near it; choose another port")

    async def _attach(self, network: Network, wanted: Wanted) -> Port:
        """First the bare link, while the store decides on the addresses: it needs no claim before it has them."""
        shared, key = self._shared, f"port:{wanted.id}"
        fabric = shared.intent.fabric
        bare = compiler.bare_port(fabric, shared.site, network, wanted)
        ground = self._ground(network)

        def prepare(kernel: Kernel) -> None:
            steps = rounds.creation(ground, "its first port here")
            rounds.all_or_nothing(steps, kernel.apply)
            shared.done(steps)
            if wanted.link is None:
                kernel.prepare(key, bare)

        prepared = shared.hands.do(prepare)
        try:
            port = await shared.claims.take(network, wanted)
        except BaseException as error:
            with contextlib.suppress(NetError):
                await prepared
            await shared.hands.do(lambda kernel: rounds.undo(rounds.creation({key: bare}, "half made"), kernel.apply))
            if not isinstance(error, NetError):  # the store did not say whether it was written
                await shared.claims.drop(wanted.key)
            await self._shed()
            raise
        fabric.put_port(port)
        self._mirrored(port)
        try:
            await prepared
            await shared.hands.do(lambda kernel: self._complete(kernel, network, port))
            await self._switch(port)
        except BaseException:
            with contextlib.suppress(NetError, StoreError):  # what cannot be removed now is left to the rounds
                await self._take_away(port)
            await self._shed()
            raise
        return port

    async def _switch(self, port: Port) -> None:
        """Have the switch know what has changed. Unavailable, when it does not take a port of this machine."""
        shared = self._shared
        failures = await shared.switch.follow(shared.intent.fabric, shared.site)
        for key in ("switch:", f"port:{port.id}", f"gateway:{port.on}"):
            if key in failures:
                raise Unavailable(f"{port.id}: {failures[key]}")

    def _ground(self, network: Network) -> dict[str, Spec]:
        """What the port's network needs on this machine, and the networks it is joined to, in the order of making; what
        has changed of networks that stand is the rounds' business."""
        shared, fabric, site = self._shared, self._shared.intent.fabric, self._shared.site
        joined = fabric.joined(network.key)
        here = {key for key in joined if has_plane(site, fabric.networks[key])}
        if all(stands(key, shared.standing) for key in here):
            return {}
        wants = dict[str, Spec]()
        for key in sorted(here):
            wants |= compiler.network_specs(fabric, site, fabric.networks[key])
        wants |= compiler.tenant_specs(fabric, site, network.tenant)
        standing = {key: spec for key, spec in shared.standing.items() if isinstance(spec, RuleSpec)}
        wants |= compiler.tables(fabric, site, standing | wants)
        return shared.missing(dict(sorted(wants.items(), key=lambda item: (rank(*item), item[0]))))

    def _complete(self, kernel: Kernel, network: Network, port: Port) -> None:
        shared = self._shared
        for publish in port.publish:
            kernel.check_free(publish)
        wanted = compiler.port_specs(shared.intent.fabric, shared.site, network, port)
        plain = {
            key: spec
            for key, spec in wanted.items()
            if isinstance(spec, RuleSpec) and spec.value is None and spec.tenant == port.tenant
        }
        rules = [spec for spec in plain.values() if isinstance(spec, RuleSpec)]
        steps = rounds.creation({key: spec for key, spec in wanted.items() if key not in plain}, "a new port")
        try:
            kernel.add_rules(rules)
            rounds.all_or_nothing(steps, kernel.apply)
        except BaseException:
            rounds.undo(rounds.creation(plain, "undone"), kernel.apply)
            raise
        shared.done([*rounds.creation(plain, "a new port"), *steps])

    async def change(self, sandbox: str, ifname: str, change: Callable[[Port], Port]) -> Port:
        """Change a port's limits and mirrors in place; returns it. NotFound, and what `change` raises; then nothing was
        done."""
        shared, intent = self._shared, self._shared.intent
        before = intent.port(f"{sandbox}:{ifname}")
        if before is None or intent.leaving(before):
            raise NotFound(f"{sandbox} has no interface {ifname}")
        after = await intent.change_port(before, change)
        try:
            await self._requalify(after)
        except NetError:
            await intent.change_port(after, lambda port: replace(port, qos=before.qos, mirrors=before.mirrors))
            shared.wake()
            raise
        return after

    async def _requalify(self, port: Port) -> None:
        """Bring the kernel to a port's limits and mirrors."""
        shared, key = self._shared, qos_key(port)
        wanted = compiler.qos_specs(shared.intent.fabric, shared.site, port).get(key)
        there = shared.standing.get(key)
        if wanted is not None:
            verb = Verb.CREATE if there is None else Verb.UPDATE
            step = Step(verb=verb, key=key, reason="other limits or mirrors", spec=wanted)
        elif there is not None:
            step = Step(verb=Verb.DELETE, key=key, reason="no limits or mirrors any more", spec=there)
        else:
            await shared.switch.follow(shared.intent.fabric, shared.site)
            return
        await shared.hands.do(lambda kernel: kernel.apply(step))
        shared.done([step])

    async def detach(self, sandbox: str, ifname: str) -> None:
        """Take an interface away. NotFound."""
        port = self._shared.intent.port(f"{sandbox}:{ifname}")
        if port is None:
            raise NotFound(f"{sandbox} has no interface {ifname}")
        await self._take_away(port)
        await self._shed()

    async def _take_away(self, port: Port) -> None:
        await self._shared.intent.retire(port)
        await self._shared.switch.follow(self._shared.intent.fabric, self._shared.site)
        await self._shared.remove(self._specs(port))
        await self._settle(port.tenant)
        await self._release(port)

    async def _settle(self, *tenants: str) -> None:
        """See that nobody speaks on with ports that went; where that cannot be done now, the rounds do it."""
        if await self._shared.settle(tenants):
            self._shared.wake()

    async def _shed(self) -> None:
        with contextlib.suppress(NetError):  # what cannot be removed now is left to the rounds
            await self._shared.shed()

    async def remove_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox with all its ports; nothing when it is not there."""
        shared = self._shared
        if not parse.LABEL.fullmatch(sandbox):
            return
        path = str(shared.rundir / "netns" / sandbox)
        ports = self._of(sandbox)
        if sandbox in shared.intent.sandboxes:
            await shared.intent.forget_sandbox(sandbox)
        specs: dict[str, Spec] = {f"sandbox:{sandbox}": SandboxSpec(path=path)}
        for port in ports:
            specs |= self._specs(port)
        await shared.remove(specs)
        await self._settle(*(port.tenant for port in ports))
        for port in ports:
            await self._release(port)
        if ports:
            await shared.switch.follow(shared.intent.fabric, shared.site)
            await self._shed()

    def attachments(self, sandbox: str | None) -> tuple[Attachment, ...]:
        """What a sandbox (or everybody on this machine) has, by interface name."""
        intent = self._shared.intent
        ports = sorted(intent.ports.values(), key=lambda port: port.id)
        return tuple(
            self._attachment(port) for port in ports if sandbox in (None, port.sandbox) and not intent.leaving(port)
        )

    def _attachment(self, port: Port) -> Attachment:
        shared = self._shared
        network = shared.intent.networks.get(port.on)
        return Attachment(
            sandbox=port.sandbox,
            ifname=port.ifname,
            tenant=port.tenant,
            network=port.network,
            addresses=port.addresses,
            gateways=network.gateways if network else (),
            mac=port.mac,
            mtu=mtu_of(shared.intent.fabric, shared.site, network) if network else model.DEFAULT_MTU,
            publish=port.publish,
            labels=port.labels,
            qos=port.qos,
        )

    def _of(self, sandbox: str) -> list[Port]:
        ports = self._shared.intent.fabric.at(self._shared.machine).values()
        return [port for port in ports if port.sandbox == sandbox]

    def _specs(self, port: Port) -> dict[str, Spec]:
        """What is there of a port, the last to go first; of a network that cannot be read what was known of it."""
        shared = self._shared
        network = shared.intent.networks.get(port.on)
        if network is None:
            shared.wake()
            raise NetError(f"{port.id}: network {port.on} cannot be read; it goes when that is corrected or deleted")
        return compiler.port_specs(shared.intent.fabric, shared.site, network, port)

    async def _release(self, port: Port) -> None:
        await self._shared.claims.release(port)
        self._shared.intent.fabric.drop_port(port.key)
        self._mirrored(port)

    def _mirrored(self, to: Port) -> None:
        """A port that others are mirrored to has come or gone: the rounds see to those."""
        ports = self._shared.intent.fabric.at(self._shared.machine).values()
        if any(mirror.to == to.id for port in ports for mirror in port.mirrors):
            self._shared.wake()


def checked(network: Network, publish: Sequence[Publish]) -> tuple[Publish, ...]:
    """Published ports in their one form, fit for the network. Invalid."""
    versions = {subnet.version for subnet in network.subnets}
    found = tuple(parse.check_publish(one) for one in publish)
    for one in found:
        if network.internal:
            raise Invalid(f"cannot publish {one}: network {network.key} is internal; use another network")
        if one.proto == "udp" and one.host_port in TUNNEL_PORTS:
            raise Invalid(f"cannot publish {one}: UDP port {one.host_port} is the tunnels'; choose another")
        if one.host_ip == LOOPBACK6:
            raise Invalid(f"cannot publish {one}: the kernel forwards nothing from ::1; use 127.0.0.1")
        if one.host_ip is not None and one.host_ip.version not in versions:
            raise Invalid(f"cannot publish {one}: network {network.key} has no IPv{one.host_ip.version} subnet")
    return found
