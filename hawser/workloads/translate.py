"""A unit's words in the words of the packages that act on them, and what those would refuse. Pure."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from hawser.mesh.errors import Invalid as BadAnnouncement
from hawser.mesh.model import Address, Announcement, parse_announcement
from hawser.netd.errors import Invalid as BadNetwork
from hawser.netd.model import Publish
from hawser.netd.parse import check_label, check_publish, parse_address
from hawser.runtime.errors import Invalid as BadContainer
from hawser.runtime.model import ContainerSpec, Limits, Mount, check
from hawser.sched.model import Container, Service

from .model import HOST, NONE

UNIT, HASH, ANNOUNCED = "hawser.unit", "hawser.hash", "hawser.announced"
CONTAINER = "hawser.container"
LONGEST = 1e9
FIELDS = {
    "service": "Service",
    "port": "Port",
    "check": "Check",
    "interval": "Interval",
    "ttl": "TTL",
    "labels": "Label",
}


def container_id(unit: str) -> str:
    """Twelve hexadecimal digits of the unit's name."""
    return hashlib.sha256(unit.encode()).hexdigest()[:12]


def instance_id(unit: str) -> str:
    """A DNS label for the unit's host name and announcement: `web@1.service` is `web-1`."""
    text = unit.removesuffix(".service").lower()
    label = "".join(c if c.isascii() and c.isalnum() else "-" for c in text).strip("-")
    return label if 0 < len(label) <= 63 else container_id(unit)


def container_spec(unit: Service, container: str, name: str, argv: Sequence[str]) -> ContainerSpec:
    """The container (or host process) that runs `argv` in the unit's surroundings."""
    labels = {UNIT: unit.name, HASH: unit.hash}
    if unit.announce is not None:
        labels[ANNOUNCED] = announced(unit)
    common = ContainerSpec(
        id=container,
        image=None,
        argv=tuple(argv),
        name=name,
        env=unit.environment,
        cwd=unit.working_directory or "/",
        user=unit.user or "0:0",
        labels=labels,
        stop_signal=unit.kill_signal,
        stop_timeout=min(unit.timeout_stop, LONGEST),
    )
    inside = unit.container
    if inside is None:
        return common
    return replace(
        common,
        image=inside.image,
        tenant=inside.tenant,
        hostname=inside.hostname or instance_id(unit.name),
        user=inside.user or unit.user or "0:0",
        limits=Limits(cpu=inside.cpus, memory=inside.memory, pids=inside.pids),
        mounts=mounts(inside),
        read_only=inside.read_only,
        host_network=inside.network == HOST,
    )


def publish(container: Container) -> tuple[Publish, ...]:
    """Published ports. netd's Invalid."""
    return tuple(
        check_publish(
            Publish(
                host_port=entry.host_port,
                port=entry.port,
                proto=entry.proto,
                host_ip=parse_address(entry.host_ip) if entry.host_ip else None,
            )
        )
        for entry in container.publish
    )


def mounts(container: Container) -> tuple[Mount, ...]:
    """Bind mounts."""
    return tuple(
        Mount(source=entry.source, target=entry.target, read_only=entry.read_only) for entry in container.volumes
    )


def announced(unit: Service) -> str:
    """`tenant/service/id` of the unit's announcement."""
    assert unit.announce is not None
    tenant = unit.container.tenant if unit.container else "default"
    return f"{tenant}/{unit.announce.service}/{instance_id(unit.name)}"


def announcement(unit: Service, container: str, addresses: Sequence[Address]) -> Announcement:
    """What the unit announces, from these addresses. mesh's Invalid."""
    assert unit.announce is not None
    wanted = unit.announce
    tenant, service, name = announced(unit).split("/", 2)
    spec: dict[str, Any] = {
        "tenant": tenant,
        "service": service,
        "id": name,
        "addresses": [str(address) for address in addresses],
        "port": wanted.port,
        "check": wanted.check,
        "interval": wanted.interval,
        "ttl": wanted.ttl,
        "labels": {**wanted.labels, UNIT: unit.name, CONTAINER: container},
    }
    return parse_announcement(spec)


def problems(unit: Service) -> list[str]:
    """What runtime, netd and mesh would refuse when the unit starts; each begins with its place where that is known."""
    return [*_container_problems(unit), *_announce_problems(unit)]


def _container_problems(unit: Service) -> Iterator[str]:
    container = container_id(unit.name)
    try:
        check(container_spec(unit, container, container, unit.command.argv))
    except BadContainer as error:
        yield from str(error).removeprefix(f"container {container}: ").split("; ")
    if unit.container is None:
        return
    inside = unit.container
    if inside.network in (NONE, HOST) and (inside.publish or inside.addresses):
        yield f"[X-Container] Network={inside.network}: addresses and published ports need a port; leave one out"
    tries: tuple[tuple[str, Callable[[], object]], ...] = (
        ("Tenant", lambda: check_label(inside.tenant, "tenant")),
        ("Network", lambda: check_label(inside.network, "network")),
        ("Publish", lambda: publish(inside)),
    )
    for key, attempt in tries:
        try:
            attempt()
        except BadNetwork as error:
            yield f"[X-Container] {key}=: {error}"


def _announce_problems(unit: Service) -> Iterator[str]:
    if unit.announce is None:
        return
    try:
        announcement(unit, container_id(unit.name), [ip_address("127.0.0.1")])
    except BadAnnouncement as error:
        for problem in error.problems:
            key = FIELDS.get(problem.split(" ", 1)[0].rstrip(":"))
            yield f"[X-Announce] {key}=: {problem}" if key else problem
