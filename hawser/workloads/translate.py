"""A unit's words in the words of the packages that act on them. Pure."""

import hashlib
from ipaddress import ip_address

from hawser.netd.model import Publish
from hawser.runtime.model import Mount
from hawser.sched.model import Container


def instance_id(unit: str) -> str:
    """A DNS label for the unit's host name and announcement: `web@1.service` is `web-1`."""
    text = unit.removesuffix(".service").lower()
    label = "".join(c if c.isascii() and c.isalnum() else "-" for c in text).strip("-")
    return label if 0 < len(label) <= 63 else hashlib.sha256(unit.encode()).hexdigest()[:12]


def publish(container: Container) -> tuple[Publish, ...]:
    """Published ports."""
    return tuple(
        Publish(
            host_port=entry.host_port,
            port=entry.port,
            proto=entry.proto,
            host_ip=ip_address(entry.host_ip) if entry.host_ip else None,
        )
        for entry in container.publish
    )


def mounts(container: Container) -> tuple[Mount, ...]:
    """Bind mounts."""
    return tuple(
        Mount(source=entry.source, target=entry.target, read_only=entry.read_only) for entry in container.volumes
    )
