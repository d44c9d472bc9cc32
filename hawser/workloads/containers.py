"""Containers with their networks: made, listed, found by name, removed, swept after a crash.

A container's sandbox in netd has the container's id. Its addresses stay its own until it is removed, running or not.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hawser.mesh.model import LABEL, Instance
from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.errors import Exists as NetworkExists
from hawser.netd.errors import NotFound as NoNetwork
from hawser.netd.model import Address, Publish
from hawser.runtime.agent import Runtime
from hawser.runtime.model import ContainerSpec, State, check

from ..faults import Fault
from . import links, view
from .links import Link, Target
from .model import NAME_LABEL, named, port_labels

DOMAIN = "mesh.internal"
DEFAULT_NETWORK = "default"
REMOVE = "hawser.remove"
STEP = "hawser.step"
IDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The network a container begins with."""

    tenant: str
    network: str
    addresses: Sequence[str] = ()
    publish: Sequence[Publish] = ()
    reserved: str | None = None
    links: Sequence[Link] = ()


class Containers:
    """Everything about containers that needs more than one package."""

    def __init__(self, runtime: Runtime, net: NetAgent) -> None:
        self._runtime = runtime
        self._net = net
        self._names: set[str] = set()
        self._making: set[str] = set()
        self._held: set[str] = set()

    async def sweep(self, *, crashed: bool = False) -> None:
        """Remove containers that were to go when they ended, and sandboxes without a container.

        Commands beside a unit run under this process only; after a crash (`crashed`) nobody waits for them any more.
        """
        for info in self._runtime.containers():
            orphaned = crashed and STEP in info.spec.labels
            if REMOVE in info.spec.labels and (info.state is State.EXITED or orphaned):
                await self.ended(info.spec.id, orphaned=orphaned)
        kept = self._making | {info.spec.id for info in self._runtime.containers()}
        for sandbox in self._net.sandboxes():
            if sandbox not in kept:
                await self._net.remove_sandbox(sandbox)

    async def ended(self, container: str, *, orphaned: bool = False) -> None:
        """Remove a container that was to go when it ended (`--rm`), unless somebody still wants to know how."""
        info = next((info for info in self._runtime.containers() if info.spec.id == container), None)
        if info is None or REMOVE not in info.spec.labels or container in self._held:
            return
        if info.state is State.EXITED or orphaned:
            await self.remove(container, force=orphaned)

    @asynccontextmanager
    async def hold(self, container: str) -> AsyncIterator[None]:
        """Keep a container that is to go when it ends for the duration of the context."""
        self._held.add(container)
        try:
            yield
        finally:
            self._held.discard(container)
            await self.ended(container)

    @contextmanager
    def making(self, container: str) -> Iterator[None]:
        """For the duration of the context the container's sandbox is no leftover, container or not."""
        self._making.add(container)
        try:
            yield
        finally:
            self._making.discard(container)

    async def make(self, spec: ContainerSpec, wiring: Wiring | None) -> None:
        """Network, then container; undone whole when either fails. Conflict when the name is taken."""
        if spec.name in self._names or any(info.spec.name == spec.name for info in self._runtime.containers()):
            raise Fault(
                f"container {spec.name} exists; choose another name or remove it: hawser rm {spec.name}", "conflict"
            )
        # before anything is made for it: the errors that need nothing but the request
        check(spec)
        if spec.image is not None:
            self._runtime.images.get(spec.image)
        self._names.add(spec.name)
        try:
            with self.making(spec.id):
                if wiring is not None:
                    spec = await self._wire(spec, wiring)
                elif spec.host_network:
                    spec = replace(spec, dns=_of_host("resolv.conf"), hosts=_of_host("hosts"))
                await self._runtime.create(spec)
        except BaseException:
            await self._net.remove_sandbox(spec.id)
            raise
        finally:
            self._names.discard(spec.name)

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Remove a container and its network. Conflict when it runs and not `force`."""
        spec = self.find(container)
        await self._runtime.remove(spec.id, force=force)
        await self._net.remove_sandbox(spec.id)

    def find(self, container: str) -> ContainerSpec:
        """A container by id, name, or a beginning of its id that no other has. Fault (not-found, conflict)."""
        specs = [info.spec for info in self._runtime.containers()]
        for spec in specs:
            if container in (spec.id, spec.name):
                return spec
        found = [spec for spec in specs if container and spec.id.startswith(container)]
        if len(found) > 1:
            raise Fault(f"{container} begins {len(found)} ids; write more of it", "conflict")
        if not found:
            raise Fault(f"no container {container}; see: hawser ps --all", "not-found")
        return found[0]

    async def tell_names(self) -> None:
        """Have the ports' records, which other machines read, name the containers that are not at their end. Conflict,
        and the store's errors."""
        states = {info.spec.id: (info.spec.name, info.state) for info in self._runtime.containers()}
        for port in self._net.ports():
            if port.sandbox in states:
                name, state = states[port.sandbox]
                wanted = None if state is State.EXITED else named(name).get(NAME_LABEL)
                if port.labels.get(NAME_LABEL) != wanted:
                    await self._net.relabel(port.sandbox, port.ifname, {NAME_LABEL: wanted})

    def hosts(self) -> Iterator[Instance]:
        """Running containers, and what else is attached, as names of their networks' tenants: no port, always
        healthy."""
        running = {i.spec.id: i.spec.name for i in self._runtime.containers() if i.state is State.RUNNING}
        borrowed = self._net.owners()
        for port in self._net.ports():
            name = running.get(port.sandbox, "")
            if port.sandbox in borrowed:
                name = port.labels.get(NAME_LABEL, "")
            if LABEL.fullmatch(name):
                yield Instance(
                    tenant=port.tenant,
                    service=name,
                    id=f"{port.sandbox}-{port.ifname}",
                    addresses=tuple(address.ip for address in port.addresses),
                    port=0,
                    machine="",
                    healthy=True,
                    reason="runs",
                )

    async def _wire(self, spec: ContainerSpec, wiring: Wiring) -> ContainerSpec:
        """A sandbox with its first interface; the spec that goes with it."""
        if wiring.reserved is None:
            await self.ensure_network(wiring.tenant, wiring.network)
        path = await self._net.make_sandbox(spec.id)
        attachment = await self._net.attach(
            spec.id,
            tenant=wiring.tenant,
            network=wiring.network,
            addresses=wiring.addresses,
            publish=wiring.publish,
            labels=port_labels(spec.labels) | named(spec.name),
            reserved=wiring.reserved,
        )
        if wiring.network not in (DEFAULT_NETWORK, attachment.network):
            words = f"reserved port {wiring.reserved} is on network {attachment.network}, not {wiring.network}"
            raise Fault(f"{words}; leave out --net", "usage")
        env, lines = dict[str, str](), view.hosts(attachment, spec.hostname)
        for link in wiring.links:
            target = self._target(link, [attachment])
            env |= links.environment(link, target, spec.name)
            lines += links.entries(link, target.addresses)
        dns = view.resolv_conf(attachment, DOMAIN)
        return replace(spec, netns=path, dns=dns, hosts=lines, env={**env, **spec.env})

    def _target(self, link: Link, home: Sequence[Attachment]) -> Target:
        """What a link leads to, for a container with these interfaces. Fault (not-found, conflict)."""
        spec = self.find(link.name)
        if self._runtime.get(spec.id).state is not State.RUNNING:
            raise Fault(
                f"cannot link to {link.name}: it does not run; start it first: hawser start {link.name}", "conflict"
            )
        networks = {f"{one.tenant}/{one.network}" for one in home}
        joined = {key for network in networks for key in self._net.fabric.joined(network)}
        mine = self._net.attachments(spec.id)
        found = [one for one in mine if f"{one.tenant}/{one.network}" in joined]
        if not found:
            words = f"it is on no network that {', '.join(sorted(networks))} leads to"
            raise Fault(f"cannot link to {link.name}: {words}; see: hawser net attach, net router", "conflict")
        return Target(
            addresses=links.ordered(address for one in found for address in one.addresses),
            ports=links.ports_of(spec.labels, (publish for one in mine for publish in one.publish)),
            env=spec.env,
        )

    def follow_links(self) -> None:
        """Have the hosts files of linked containers say where their links lead now; those that lead nowhere at present
        stay as they are. RuntimeFault. Blocks for a moment."""
        for info in self._runtime.containers():
            wanted = links.links_of(info.spec.labels)
            home = self._net.attachments(info.spec.id) if wanted else ()
            if not home:
                continue
            found = dict[Link, Sequence[Address]]()
            for link in wanted:
                with contextlib.suppress(Fault):
                    found[link] = self._target(link, home).addresses
            self._runtime.rewrite_hosts(info.spec.id, partial(links.follow, found=found))

    async def ensure_network(self, tenant: str, network: str) -> None:
        """A tenant's `default` network is made when it is first used, as docker0 is."""
        if network != DEFAULT_NETWORK:
            return
        try:
            await self._net.network(tenant, network)
        except NoNetwork:
            try:
                await self._net.create_network({"tenant": tenant, "name": network})
            except NetworkExists:
                return


def _of_host(name: str) -> str | None:
    """A file of the machine's /etc; None when it has none."""
    try:
        return Path("/etc", name).read_text(errors="replace")
    except OSError:
        return None


def new_id() -> str:
    """Twelve hexadecimal digits."""
    return secrets.token_hex(IDS)
