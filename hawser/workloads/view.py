"""How containers look from outside: rows of listings, whole documents, and the files they find inside. Pure."""

from collections.abc import Sequence
from typing import Any

from hawser.netd.agent import Attachment
from hawser.runtime.model import ContainerInfo, LogLine


def row(info: ContainerInfo, attachments: Sequence[Attachment]) -> dict[str, Any]:
    """One container of a listing."""
    spec = info.spec
    return {
        "id": spec.id,
        "name": spec.name,
        "tenant": spec.tenant,
        "image": spec.image,
        "state": str(info.state),
        "code": info.exit.code if info.exit else None,
        "addresses": [str(address) for attachment in attachments for address in attachment.addresses],
        "publish": [str(publish) for attachment in attachments for publish in attachment.publish],
        "argv": list(spec.argv),
        "created": info.created,
    }


def whole(info: ContainerInfo, attachments: Sequence[Attachment]) -> dict[str, Any]:
    """Everything about one container."""
    spec, limits = info.spec, info.spec.limits
    return row(info, attachments) | {
        "pid": info.pid,
        "started": info.started,
        "exit": _exit(info),
        "env": dict(spec.env),
        "cwd": spec.cwd,
        "user": spec.user,
        "hostname": spec.hostname,
        "labels": dict(spec.labels),
        "limits": {"cpus": limits.cpu, "memory": limits.memory, "pids": limits.pids},
        "mounts": [
            {"source": mount.source, "target": mount.target, "read_only": mount.read_only} for mount in spec.mounts
        ],
        "read_only": spec.read_only,
        "netns": spec.netns,
        "host_network": spec.host_network,
        "interfaces": [port(attachment, spec.name) for attachment in attachments],
    }


def port(attachment: Attachment, name: str) -> dict[str, Any]:
    """One interface of a container."""
    return {
        "container": attachment.sandbox,
        "name": name,
        "tenant": attachment.tenant,
        "network": attachment.network,
        "ifname": attachment.ifname,
        "mac": attachment.mac,
        "addresses": [str(address) for address in attachment.addresses],
        "gateways": [str(gateway) for gateway in attachment.gateways],
        "publish": [str(publish) for publish in attachment.publish],
    }


def line(entry: LogLine) -> dict[str, Any]:
    """One line of output."""
    return {"time": entry.time, "stream": entry.stream, "text": entry.text}


def resolv_conf(attachment: Attachment, domain: str) -> str:
    """A container's /etc/resolv.conf: the node answers on the gateway's address (resolv.conf(5))."""
    servers = "".join(f"nameserver {gateway}\n" for gateway in attachment.gateways)
    return f"{servers}search {attachment.tenant}.{domain}\noptions timeout:2 attempts:2\n"


def hosts(attachment: Attachment, hostname: str) -> str:
    """A container's /etc/hosts: loopback and its own name."""
    own = "".join(f"{address.ip}\t{hostname}\n" for address in attachment.addresses)
    return f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}"


def _exit(info: ContainerInfo) -> dict[str, Any] | None:
    if info.exit is None:
        return None
    return {
        "code": info.exit.code,
        "signal": info.exit.signal,
        "oom": info.exit.oom,
        "finished": info.exit.finished,
    }
