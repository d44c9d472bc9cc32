"""What people do with containers, as they ask for it over the API: by name, in one call each."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from signal import Signals
from typing import Any

from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.parse import parse_publish
from hawser.runtime.agent import Runtime
from hawser.runtime.model import ContainerSpec, Limits, LogLine, State

from ..faults import Fault
from . import links, model, view
from .containers import REMOVE, Containers, Wiring, new_id
from .model import HOST, NAME_LABEL, NONE, ExecRequest, Interface, KillRequest, RunRequest, port_labels


class Verbs:
    """The verbs of the command line over the containers of a node."""

    def __init__(self, containers: Containers, runtime: Runtime, net: NetAgent) -> None:
        self._containers = containers
        self._runtime = runtime
        self._net = net

    async def run(self, wanted: RunRequest) -> str:
        """Create and start a container; its id. A container that cannot start leaves nothing."""
        spec, wiring = _spec(wanted), _wiring(wanted)
        await self._begin(spec, wiring)
        return spec.id

    async def attached(self, wanted: RunRequest) -> AsyncGenerator[dict[str, Any], None]:
        """As `run`, then its output as it comes, then its exit code; it is kept until that was told."""
        spec, wiring = _spec(wanted), _wiring(wanted)
        async with self._containers.hold(spec.id):
            await self._begin(spec, wiring)
            yield {"id": spec.id}
            async for line in self._runtime.logs(spec.id, follow=True):
                yield view.line(line)
            yield {"code": (await self._runtime.wait(spec.id)).code}

    async def _begin(self, spec: ContainerSpec, wiring: Wiring | None) -> None:
        await self._containers.make(spec, wiring)
        try:
            await self._runtime.start(spec.id)
        except BaseException:
            await self._containers.remove(spec.id, force=True)
            raise

    async def start(self, container: str) -> None:
        """Start a container that is not running."""
        await self._runtime.start(self._containers.find(container).id)

    async def stop(self, container: str, timeout: float | None) -> None:
        """Its stop signal, then SIGKILL after `timeout` seconds; nothing when it is not running."""
        info = self._runtime.get(self._containers.find(container).id)
        if info.state is State.RUNNING:
            await self._runtime.stop(info.spec.id, timeout)

    async def kill(self, container: str, wanted: KillRequest) -> None:
        """Send a signal by name or number."""
        await self._runtime.kill(self._containers.find(container).id, _signal(wanted.signal), default=wanted.default)

    async def wait(self, container: str) -> int:
        """The exit code, when it has ended."""
        return (await self._runtime.wait(self._containers.find(container).id)).code

    async def execute(self, container: str, wanted: ExecRequest) -> Mapping[str, Any]:
        """Run a command in a running container to its end."""
        spec = self._containers.find(container)
        result = await self._runtime.execute(spec.id, wanted.argv, env=wanted.env, user=wanted.user)
        return {
            "code": result.code,
            "stdout": result.stdout.decode(errors="replace"),
            "stderr": result.stderr.decode(errors="replace"),
            "cut": result.cut,
        }

    def logs(self, container: str, *, follow: bool, tail: int | None) -> AsyncIterator[LogLine]:
        """Its output, oldest first."""
        return self._runtime.logs(self._containers.find(container).id, follow=follow, tail=tail)

    async def attach(self, container: str, wanted: Interface) -> Sequence[IPv4Interface | IPv6Interface]:
        """One more network."""
        spec = self._containers.find(container)
        if spec.netns is None:
            raise Fault(f"container {container} has no network of its own to attach to (--net none, host)", "conflict")
        ifname = wanted.ifname or self._free_ifname(spec.id)
        await self._containers.ensure_network(wanted.tenant, wanted.network)
        attachment = await self._net.attach(
            spec.id,
            tenant=wanted.tenant,
            network=wanted.network,
            ifname=ifname,
            addresses=wanted.addresses,
            labels=port_labels(spec.labels) | model.named(spec.name),
        )
        return attachment.addresses

    async def detach(self, container: str, ifname: str) -> None:
        """Take an interface away."""
        await self._net.detach(self._containers.find(container).id, ifname)

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
        info = self._runtime.get(self._containers.find(container).id)
        return view.whole(info, self._net.attachments(info.spec.id))

    def names(self) -> Mapping[str, str]:
        """Containers' names by id."""
        return {info.spec.id: info.spec.name for info in self._runtime.containers()}

    def ports_of(self, tenant: str, network: str) -> list[dict[str, Any]]:
        """What is attached to a network."""
        names = self.names()
        return [
            view.port(attachment, names.get(attachment.sandbox) or attachment.labels.get(NAME_LABEL, ""))
            for attachment in self._net.attachments()
            if (attachment.tenant, attachment.network) == (tenant, network)
        ]

    def _free_ifname(self, container: str) -> str:
        taken = {attachment.ifname for attachment in self._net.attachments(container)}
        return next(name for index in range(len(taken) + 1) if (name := f"eth{index}") not in taken)


def _wiring(wanted: RunRequest) -> Wiring | None:
    publish = [parse_publish(text) for text in wanted.publish]
    given = (wanted.addresses, publish, wanted.reserved, wanted.links)
    if wanted.network in (NONE, HOST):
        whose = "the machine's own" if wanted.network == HOST else "no"
        for what, one in zip(("--ip", "--publish", "--reserved", "--link"), given, strict=True):
            if one:
                raise Fault(
                    f"{what} needs a port, and --net {wanted.network} has {whose} network; leave one out", "usage"
                )
        return None
    if wanted.reserved is not None and wanted.addresses:
        raise Fault("a reserved port has its own addresses; leave out --ip or --reserved", "usage")
    return Wiring(
        tenant=wanted.tenant,
        network=wanted.network,
        addresses=wanted.addresses,
        publish=publish,
        reserved=wanted.reserved,
        links=links.parse_links(wanted.links),
    )


def _spec(wanted: RunRequest) -> ContainerSpec:
    container = new_id()
    name = model.check_name(wanted.name) if wanted.name else container
    model.check_labels(wanted.labels)
    own = links.labels(links.parse_links(wanted.links), links.parse_exposed(wanted.expose))
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
        labels=wanted.labels | own | ({REMOVE: "1"} if wanted.remove else {}),
        read_only=wanted.read_only,
        host_network=wanted.network == HOST,
    )


def _signal(text: str) -> int:
    name = text.upper().removeprefix("SIG")
    if text.isdecimal() and len(text) < 4 and 1 <= int(text) <= 64:
        return int(text)
    try:
        return Signals[f"SIG{name}"].value
    except KeyError:
        raise Fault(f"signal {text!r}: give a name like TERM or a number 1-64", "usage") from None
