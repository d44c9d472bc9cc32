"""Containers with their networks: made, listed, found by name, removed, swept after a crash.

A container's sandbox in netd has the container's id. Its addresses stay its own until it is removed, running or not.
"""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface
from signal import Signals
from typing import Any

from hawser.mesh.model import LABEL, Instance
from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.errors import Exists as NetworkExists
from hawser.netd.errors import NotFound as NoNetwork
from hawser.netd.model import Publish
from hawser.runtime.agent import Runtime
from hawser.runtime.model import ContainerInfo, ContainerSpec, Limits, LogLine, State

from ..faults import Fault
from . import model, view
from .model import ExecRequest, Interface, RunRequest

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


class Containers:
    """Everything about containers that needs more than one package."""

    def __init__(self, runtime: Runtime, net: NetAgent) -> None:
        self._runtime = runtime
        self._net = net
        self._names: set[str] = set()

    async def sweep(self) -> None:
        """Remove what a crash left: containers that were to go when they ended, sandboxes without a container."""
        for info in self._runtime.containers():
            if REMOVE in info.spec.labels and (info.state is not State.RUNNING or STEP in info.spec.labels):
                await self.remove(info.spec.id, force=True)
        kept = {info.spec.id for info in self._runtime.containers()}
        for sandbox in self._net.sandboxes():
            if sandbox not in kept:
                await self._net.remove_sandbox(sandbox)

    async def ended(self, container: str) -> None:
        """Remove a container that was to go when it ended (`--rm`)."""
        info = next((info for info in self._runtime.containers() if info.spec.id == container), None)
        if info is not None and info.state is State.EXITED and REMOVE in info.spec.labels:
            await self.remove(container)

    async def run(self, wanted: RunRequest) -> str:
        """Create and start a container; its id. A container that cannot start leaves nothing."""
        spec = _spec(wanted)
        publish = [model.parse_publish(text) for text in wanted.publish]
        if wanted.network == "none" and (wanted.addresses or publish):
            raise Fault("addresses and published ports need a network; leave out --net none", "usage")
        wiring = None
        if wanted.network != "none":
            wiring = Wiring(tenant=wanted.tenant, network=wanted.network, addresses=wanted.addresses, publish=publish)
        await self.make(spec, wiring)
        try:
            await self._runtime.start(spec.id)
        except BaseException:
            await self.remove(spec.id, force=True)
            raise
        return spec.id

    async def make(self, spec: ContainerSpec, wiring: Wiring | None) -> None:
        """Network, then container; undone whole when either fails. Conflict when the name is taken."""
        if spec.name in self._names or any(info.spec.name == spec.name for info in self._runtime.containers()):
            raise Fault(
                f"container {spec.name} exists; choose another name or remove it: hawser rm {spec.name}", "conflict"
            )
        self._names.add(spec.name)
        try:
            if wiring is not None:
                spec = await self._wire(spec, wiring)
            await self._runtime.create(spec)
        except BaseException:
            await self._net.remove_sandbox(spec.id)
            raise
        finally:
            self._names.discard(spec.name)

    async def start(self, container: str) -> None:
        """Start a container that is not running."""
        await self._runtime.start(self.find(container).id)

    async def stop(self, container: str, timeout: float | None) -> None:
        """Its stop signal, then SIGKILL after `timeout` seconds; nothing when it is not running."""
        info = self._runtime.get(self.find(container).id)
        if info.state is State.RUNNING:
            await self._runtime.stop(info.spec.id, timeout)

    async def kill(self, container: str, signal: str) -> None:
        """Send a signal by name or number."""
        await self._runtime.kill(self.find(container).id, _signal(signal))

    async def wait(self, container: str) -> int:
        """The exit code, when it has ended."""
        return (await self._runtime.wait(self.find(container).id)).code

    async def execute(self, container: str, wanted: ExecRequest) -> Mapping[str, Any]:
        """Run a command in a running container to its end."""
        spec = self.find(container)
        result = await self._runtime.execute(spec.id, wanted.argv, env=wanted.env, user=wanted.user)
        return {
            "code": result.code,
            "stdout": result.stdout.decode(errors="replace"),
            "stderr": result.stderr.decode(errors="replace"),
        }

    def logs(self, container: str, *, follow: bool, tail: int | None) -> AsyncIterator[LogLine]:
        """Its output, oldest first."""
        return self._runtime.logs(self.find(container).id, follow=follow, tail=tail)

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Remove a container and its network. Conflict when it runs and not `force`."""
        spec = self.find(container)
        await self._runtime.remove(spec.id, force=force)
        await self._net.remove_sandbox(spec.id)

    async def attach(self, container: str, wanted: Interface) -> Sequence[IPv4Interface | IPv6Interface]:
        """One more network."""
        spec = self.find(container)
        if spec.netns is None:
            raise Fault(f"container {container} has no network of its own to attach to (--net none)", "conflict")
        ifname = wanted.ifname or self._free_ifname(spec.id)
        await self._ensure_network(wanted.tenant, wanted.network)
        attachment = await self._net.attach(
            spec.id, tenant=wanted.tenant, network=wanted.network, ifname=ifname, addresses=wanted.addresses
        )
        return attachment.addresses

    async def detach(self, container: str, ifname: str) -> None:
        """Take an interface away."""
        await self._net.detach(self.find(container).id, ifname)

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

    def listing(self, *, every: bool) -> list[dict[str, Any]]:
        """Containers for `ps`, running ones or all, oldest first."""
        wires: dict[str, list[Attachment]] = {}
        for attachment in self._net.attachments():
            wires.setdefault(attachment.sandbox, []).append(attachment)
        infos = sorted(self._runtime.containers(), key=lambda info: (info.created, info.spec.id))
        shown = [info for info in infos if every or info.state is State.RUNNING]
        return [view.row(info, wires.get(info.spec.id, ())) for info in shown]

    def show(self, container: str) -> dict[str, Any]:
        """Everything about one container."""
        info = self._runtime.get(self.find(container).id)
        return view.whole(info, self._net.attachments(info.spec.id))

    def get(self, container: str) -> ContainerInfo:
        """One container by id; runtime's NotFound."""
        return self._runtime.get(container)

    def ports_of(self, tenant: str, network: str) -> list[dict[str, Any]]:
        """What is attached to a network."""
        names = {info.spec.id: info.spec.name for info in self._runtime.containers()}
        return [
            view.port(attachment, names.get(attachment.sandbox, ""))
            for attachment in self._net.attachments()
            if (attachment.tenant, attachment.network) == (tenant, network)
        ]

    def hosts(self) -> Iterator[Instance]:
        """Running containers as names of their networks' tenants: no port, always healthy."""
        running = {i.spec.id: i.spec.name for i in self._runtime.containers() if i.state is State.RUNNING}
        for attachment in self._net.attachments():
            name = running.get(attachment.sandbox, "")
            if LABEL.fullmatch(name):
                yield Instance(
                    tenant=attachment.tenant,
                    service=name,
                    id=f"{attachment.sandbox}-{attachment.ifname}",
                    addresses=tuple(address.ip for address in attachment.addresses),
                    port=0,
                    machine="",
                    healthy=True,
                    reason="runs",
                )

    async def _wire(self, spec: ContainerSpec, wiring: Wiring) -> ContainerSpec:
        """A sandbox with its first interface; the spec that goes with it."""
        await self._ensure_network(wiring.tenant, wiring.network)
        path = await self._net.make_sandbox(spec.id)
        attachment = await self._net.attach(
            spec.id,
            tenant=wiring.tenant,
            network=wiring.network,
            addresses=wiring.addresses,
            publish=wiring.publish,
        )
        return replace(
            spec, netns=path, dns=view.resolv_conf(attachment, DOMAIN), hosts=view.hosts(attachment, spec.hostname)
        )

    async def _ensure_network(self, tenant: str, network: str) -> None:
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

    def _free_ifname(self, container: str) -> str:
        taken = {attachment.ifname for attachment in self._net.attachments(container)}
        return next(name for index in range(len(taken) + 1) if (name := f"eth{index}") not in taken)


def new_id() -> str:
    """Twelve hexadecimal digits."""
    return secrets.token_hex(IDS)


def _spec(wanted: RunRequest) -> ContainerSpec:
    container = new_id()
    name = model.check_name(wanted.name) if wanted.name else container
    if REMOVE in wanted.labels:
        raise Fault(f"label {REMOVE} is hawser's own; choose another", "usage")
    return ContainerSpec(
        id=container,
        image=wanted.image,
        argv=tuple(wanted.argv),
        name=name,
        tenant=wanted.tenant,
        env=wanted.env,
        cwd=wanted.workdir,
        hostname=wanted.hostname or name,
        user=wanted.user,
        limits=Limits(
            cpu=wanted.cpus,
            memory=model.parse_size(wanted.memory) if wanted.memory is not None else None,
            pids=wanted.pids,
        ),
        mounts=tuple(model.parse_volume(text) for text in wanted.volume),
        labels=wanted.labels | ({REMOVE: "1"} if wanted.remove else {}),
        read_only=wanted.read_only,
    )


def _signal(text: str) -> int:
    name = text.upper().removeprefix("SIG")
    if text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    try:
        return Signals[f"SIG{name}"].value
    except KeyError:
        raise Fault(f"signal {text!r}: give a name like TERM or a number 1-64", "usage") from None
