"""What callers ask for, as it comes over the API: strict, plain, parsed once at the edge."""

import re
from collections.abc import Mapping

import msgspec

from hawser.mesh.model import LABEL
from hawser.netd.model import OWN_LABELS
from hawser.netd.parse import fits_label
from hawser.runtime.model import Mount

from ..faults import Fault

SIZES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
NONE, HOST = "none", "host"
NAME_LABEL = f"{OWN_LABELS}name"  # of a port: what names it on every machine
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class RunRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A container to run; `memory` like `64M`, `publish` like `[HOST:]PORT:PORT[/PROTO]`, `volume` like `A:B[:ro]`.

    `network` is a tenant's, or NONE, or HOST; `reserved` a reserved port of the tenant, which has its own network;
    `links` like `NAME[:ALIAS]`, `expose` like `PORT[/PROTO]`.
    """

    image: str
    argv: list[str]
    tenant: str = "default"
    name: str = ""
    network: str = "default"
    addresses: list[str] = []
    publish: list[str] = []
    env: dict[str, str] = {}
    volume: list[str] = []
    labels: dict[str, str] = {}
    memory: str | None = None
    cpus: float | None = None
    pids: int | None = None
    user: str = "0:0"
    workdir: str = "/"
    hostname: str | None = None
    read_only: bool = False
    remove: bool = False
    reserved: str | None = None
    links: list[str] = []
    expose: list[str] = []


class ExecRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A command for a running container."""

    argv: list[str]
    env: dict[str, str] = {}
    user: str | None = None


class StopRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`timeout` in seconds before SIGKILL; None is the container's own."""

    timeout: float | None = None


class KillRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`signal` by name (with or without SIG) or number; `default`: one that the program would never see ends it."""

    signal: str = "KILL"
    default: bool = False


class Interface(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One more network for a container."""

    tenant: str = "default"
    network: str
    addresses: list[str] = []
    ifname: str | None = None


def parse_size(text: str) -> int:
    """Bytes of `64M`, `1.5G`, `4096`; powers of 1024. Fault (usage)."""
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([BKMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise Fault(f"size {text!r}: write a number with K, M, G or T", "usage")
    return int(float(match[1]) * SIZES[match[2].upper()])


def parse_volume(text: str) -> Mount:
    """A bind mount of `SOURCE:TARGET[:ro]`. Fault (usage)."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0].startswith("/") or (len(parts) == 3 and parts[2] not in ("ro", "rw")):
        raise Fault(f"volume {text!r}: write /SOURCE:/TARGET[:ro]", "usage")
    return Mount(source=parts[0], target=parts[1], read_only=parts[2:] == ["ro"])


def check_labels(labels: Mapping[str, str]) -> None:
    """Labels of a caller's own: those that begin with `hawser.` say how hawser made a thing. Fault (usage)."""
    for label in labels:
        if label.startswith(OWN_LABELS):
            raise Fault(
                f"label {label!r}: names that begin with {OWN_LABELS} are hawser's own; choose another", "usage"
            )


def port_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Of a container's labels, those by which policies may know its ports: the caller's own that fit a policy."""
    pairs = ((name, text) for name, text in labels.items() if not name.startswith(OWN_LABELS))
    return {name: text for name, text in pairs if fits_label(name) and fits_label(text)}


def named(name: str) -> dict[str, str]:
    """The label by which a port's record says what it is called; none for what is no name in DNS."""
    return {NAME_LABEL: name} if LABEL.fullmatch(name) else {}


def check_name(name: str) -> str:
    """A container's name. Fault (usage)."""
    if not NAME.fullmatch(name):
        raise Fault(f"name {name!r}: use 1-63 of a-z, 0-9, '.', '_' and '-', ends being letter or digit", "usage")
    return name
