"""Sandboxes and their ports: made all or nothing, taken away intent first.

An attachment claims its addresses and host ports and writes its record in one transaction; then only what the port
needs is made, whatever else exists. A port that goes keeps its claims until the kernel no longer has its addresses.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from hawser.store import StoreError

from . import compile as compiler
from . import model, parse, rounds
from .claims import Wanted, fixed_addresses
from .compile import SandboxSpec, Spec
from .errors import Exists, Invalid, NetError, NotFound
from .model import Address, Interface, Network, Port, Publish
from .shared import Shared
from .world import Kernel

LOOPBACK6 = IPv6Address("::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What a sandbox got: its addresses, the gateways of its network, the interface and its MAC."""

    sandbox: str
    ifname: str
    tenant: str
    network: str
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mac: str
    publish: tuple[Publish, ...] = ()


class Ports:
    """The sandboxes and ports of one node; one call at a time."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def make_sandbox(self, sandbox: str) -> str:
        """A new network namespace; returns its path. Invalid, Exists."""
        shared = self._shared
        parse.check_label(sandbox, "sandbox")
        if sandbox in shared.intent.sandboxes:
            raise Exists(f"sandbox {sandbox} exists; remove it first")
        if self._of(sandbox):  # its predecessor is not quite gone
            await self.remove_sandbox(sandbox)
        path = str(shared.rundir / "netns" / sandbox)
        steps = rounds.creation({f"sandbox:{sandbox}": SandboxSpec(path=path)}, "a new sandbox")
        # in whichever order a crash leaves record and namespace, the next round makes them one
        made = shared.hands.do(lambda kernel: rounds.all_or_nothing(steps, kernel.apply))
        try:
            await shared.intent.add_sandbox(sandbox, path)
            await made
        except BaseException as error:
            with contextlib.suppress(NetError):
                await made
            await shared.hands.do(lambda kernel: rounds.undo(steps, kernel.apply))
            if not isinstance(error, Exists):
                await shared.intent.forget_sandbox(sandbox)
            raise
        return path

    async def attach(
        self, sandbox: str, network: Network, ifname: str, addresses: Sequence[str], publish: Sequence[Publish]
    ) -> Attachment:
        """One more interface of a sandbox. Invalid, NotFound, Exists, Conflict, Unavailable; then nothing was done."""
        intent = self._shared.intent
        if sandbox not in intent.sandboxes:
            raise NotFound(f"sandbox {sandbox} does not exist; make it first")
        if there := intent.ports.get(f"{sandbox}:{ifname}"):
            if not there.leaving:
                raise Exists(f"{sandbox} has an interface {ifname}; choose another name")
            await self._take_away(there)
        wanted = Wanted(
            sandbox=sandbox,
            ifname=ifname,
            netns=intent.sandboxes[sandbox],
            mac=model.mac_of(self._shared.instance, f"{sandbox}:{ifname}"),
            fixed=fixed_addresses(network, addresses),
            publish=checked(network, publish),
        )
        return self._attachment(await self._attach(network, wanted))

    async def _attach(self, network: Network, wanted: Wanted) -> Port:
        shared, key = self._shared, f"port:{wanted.id}"
        bare = compiler.bare_port(shared.instance, network, wanted, shared.mtu)
        prepared = shared.hands.do(lambda kernel: kernel.prepare(key, bare))  # it needs no claim before its addresses
        try:
            port = await shared.claims.take(network, wanted)
        except BaseException as error:
            with contextlib.suppress(NetError):
                await prepared
            await shared.hands.do(lambda kernel: rounds.undo(rounds.creation({key: bare}, "half made"), kernel.apply))
            if not isinstance(error, NetError):  # the store did not say whether it was written
                await shared.claims.drop(wanted.id)
            raise
        shared.intent.ports[port.id] = port
        steps = rounds.creation(compiler.port_specs(shared.instance, network, port, shared.mtu), "a new port")

        def make(kernel: Kernel) -> None:
            for publish in port.publish:
                kernel.check_free(publish)
            rounds.all_or_nothing(steps, kernel.apply)

        try:
            await prepared
            await shared.hands.do(make)
        except BaseException:
            with contextlib.suppress(NetError, StoreError):  # what cannot be removed now is left to the rounds
                await self._take_away(port)
            raise
        return port

    async def detach(self, sandbox: str, ifname: str) -> None:
        """Take an interface away. NotFound."""
        port = self._shared.intent.ports.get(f"{sandbox}:{ifname}")
        if port is None:
            raise NotFound(f"{sandbox} has no interface {ifname}")
        await self._take_away(port)

    async def _take_away(self, port: Port) -> None:
        await self._shared.intent.retire(port)
        await self._shared.remove(self._specs(port))
        await self._release(port)

    async def remove_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox with all its ports; nothing when it is not there."""
        shared = self._shared
        if not parse.LABEL.fullmatch(sandbox):
            return
        path = shared.intent.sandboxes.get(sandbox, str(shared.rundir / "netns" / sandbox))
        if sandbox in shared.intent.sandboxes:
            await shared.intent.forget_sandbox(sandbox)
        ports = self._of(sandbox)
        specs: dict[str, Spec] = {f"sandbox:{sandbox}": SandboxSpec(path=path)}
        for port in ports:
            specs |= self._specs(port)
        await shared.remove(specs)
        for port in ports:
            await self._release(port)

    def attachments(self, sandbox: str | None) -> tuple[Attachment, ...]:
        """What a sandbox (or everybody) has, by interface name."""
        intent = self._shared.intent
        ports = sorted(intent.ports.values(), key=lambda port: port.id)
        return tuple(
            self._attachment(port) for port in ports if sandbox in (None, port.sandbox) and not intent.leaving(port)
        )

    def _attachment(self, port: Port) -> Attachment:
        network = self._shared.intent.networks.get(port.on)
        return Attachment(
            sandbox=port.sandbox,
            ifname=port.ifname,
            tenant=port.tenant,
            network=port.network,
            addresses=port.addresses,
            gateways=network.gateways if network else (),
            mac=port.mac,
            publish=port.publish,
        )

    def _of(self, sandbox: str) -> list[Port]:
        return [port for port in self._shared.intent.ports.values() if port.sandbox == sandbox]

    def _specs(self, port: Port) -> dict[str, Spec]:
        network = self._shared.intent.networks.get(port.on)
        if network is None:
            self._shared.wake()
            raise NetError(f"{port.id}: network {port.on} cannot be read; it goes when that is corrected or deleted")
        return compiler.port_specs(self._shared.instance, network, port, self._shared.mtu)

    async def _release(self, port: Port) -> None:
        await self._shared.claims.release(port)
        self._shared.intent.ports.pop(port.id, None)


def checked(network: Network, publish: Sequence[Publish]) -> tuple[Publish, ...]:
    """Published ports in their one form, fit for the network. Invalid."""
    versions = {subnet.version for subnet in network.subnets}
    found = tuple(parse.check_publish(one) for one in publish)
    for one in found:
        if network.internal:
            raise Invalid(f"cannot publish {one}: network {network.key} is internal; use another network")
        if one.host_ip == LOOPBACK6:
            raise Invalid(f"cannot publish {one}: the kernel forwards nothing from ::1; use 127.0.0.1")
        if one.host_ip is not None and one.host_ip.version not in versions:
            raise Invalid(f"cannot publish {one}: network {network.key} has no IPv{one.host_ip.version} subnet")
    return found
