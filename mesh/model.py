"""What the mesh is told and what it tells: announcements, and the instances that everybody finds.

An announcement is an intent of one machine: "instance `id` of `service` of `tenant` is at these addresses and this
port; check it like so". An instance is what the store's catalog says of it: the announcement, the machine that made it,
and its health. Tenant, service and id become labels of DNS names and parts of store keys, so they are DNS labels
(RFC 1123). `parse_announcement(format_announcement(x)) == x`.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from .errors import Invalid

Address = IPv4Address | IPv6Address

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
SERVICE_MAX = 62  # `_service` of RFC 2782 must fit a label of 63
TEXT_MAX = 1024
ROOT = "/hawser/mesh"
SERVICES = f"{ROOT}/services/"
ANNOUNCEMENTS = f"{ROOT}/announcements/"
PENDING = "not checked yet"


class CheckKind(StrEnum):
    """How health is found out; see `Check`."""

    TCP = "tcp"
    HTTP = "http"
    EXEC = "exec"
    TTL = "ttl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How health is found out. tcp: a connection is accepted; http: GET `path` gives 200-399; exec: `command` exits
    with 0; ttl: the program beats at least once every ttl of its announcement. `timeout` (seconds) bounds one check;
    `rise` passes in a row make an instance healthy, `fall` failures in a row unhealthy.
    """

    kind: CheckKind = CheckKind.TCP
    path: str = ""
    command: tuple[str, ...] = ()
    timeout: float = 1.0
    rise: int = 1
    fall: int = 2

    def __str__(self) -> str:
        if self.kind is CheckKind.HTTP:
            return f"http:{self.path}"
        return f"exec:{shlex.join(self.command)}" if self.kind is CheckKind.EXEC else self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One instance of a service. `interval`: seconds between checks; `ttl`: seconds its record outlives its machine."""

    tenant: str
    service: str
    id: str
    addresses: tuple[Address, ...]
    port: int
    check: Check = Check()
    interval: float = 2.0
    ttl: float = 15.0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`tenant/service/id`, the instance's name everywhere."""
        return f"{self.tenant}/{self.service}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(Announcement):
    """An announcement as the catalog has it: who made it, whether it is healthy, and the last check's reason."""

    machine: str
    healthy: bool = False
    reason: str = PENDING

    @property
    def announcement(self) -> Announcement:
        """What was announced, without its health."""
        return Announcement(**{item.name: getattr(self, item.name) for item in fields(Announcement)})


def instance_of(announcement: Announcement, machine: str, *, healthy: bool, reason: str) -> Instance:
    """The record of an announcement."""
    values = {item.name: getattr(announcement, item.name) for item in fields(Announcement)}
    return Instance(**values, machine=machine, healthy=healthy, reason=reason)


def service_key(key: str) -> str:
    """Where the record of `tenant/service/id` is."""
    return SERVICES + key


def intent_key(machine: str, key: str) -> str:
    """Where a machine keeps its announcement of `tenant/service/id`."""
    return f"{ANNOUNCEMENTS}{machine}/{key}"


def check_label(text: object, what: str, longest: int = 63) -> str:
    """A name that fits a store key and a DNS label, or Invalid."""
    if not isinstance(text, str) or len(text) > longest or not LABEL.fullmatch(text):
        raise Invalid(
            f"{what} {text!r}: use 1-{longest} of a-z, 0-9 and -, beginning and ending with a letter or digit"
        )
    return text


def default_id(address: Address, port: int) -> str:
    """An id made from where the instance is: `10-1-2-3-80`; IPv6 as 32 hexadecimal digits."""
    place = str(address).replace(".", "-") if address.version == 4 else address.exploded.replace(":", "")
    return f"{place}-{port}"


def parse_check(text: object, *, timeout: float = 1.0, rise: int = 1, fall: int = 2) -> Check:
    """`tcp`, `http:/path`, `ttl` or `exec:COMMAND` (split as a shell would, no shell runs it). Invalid."""
    if not isinstance(text, str):
        raise Invalid(f"check {text!r}: use tcp, http:/path, ttl or exec:COMMAND")
    kind, colon, rest = text.partition(":")
    path, command = "", tuple[str, ...]()
    if kind == "http" and colon:
        if not re.fullmatch(r"/[!-~]*", rest) or len(rest) > TEXT_MAX:
            raise Invalid(f"check {text!r}: give a path of visible ASCII that begins with /, as in http:/health")
        path = rest
    elif kind == "exec" and colon:
        command = _command(text, rest)
    elif text not in ("tcp", "ttl"):
        raise Invalid(f"check {text!r}: use tcp, http:/path, ttl or exec:COMMAND")
    return Check(kind=CheckKind(kind), path=path, command=command, timeout=timeout, rise=rise, fall=fall)


def _command(text: str, rest: str) -> tuple[str, ...]:
    if len(rest) > TEXT_MAX or "\0" in rest:
        raise Invalid(f"check exec: the command has a NUL or more than {TEXT_MAX} characters")
    try:
        command = tuple(shlex.split(rest))
    except ValueError as error:
        raise Invalid(f"check {text!r}: {str(error).lower()}; mend the quotes") from None
    if not command or not command[0]:
        raise Invalid(f"check {text!r}: no command after exec:")
    return command


class _Reader:
    """Takes fields out of a mapping and collects every problem."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec = dict(spec)
        self.problems: list[str] = []

    def take(self, name: str, default: Any = None) -> Any:
        value = self._spec.pop(name, None)
        return default if value is None else value

    def label(self, name: str, default: str | None = None, longest: int = 63) -> str:
        value = self.take(name, default)
        try:
            return check_label(value, name, longest)
        except Invalid as error:
            self.problems.append(str(error))
            return ""

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.problems.append(f"{name} {value!r}: use seconds from {low:g} to {high:g}")
            return default
        return float(value)

    def integer(self, name: str, default: int | None, low: int, high: int) -> int:
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.problems.append(f"{name} {value!r}: use a whole number from {low} to {high}")
            return default or low
        return value

    def addresses(self) -> tuple[Address, ...]:
        value = self.take("addresses", ())
        if isinstance(value, str) or not isinstance(value, Sequence) or not value:
            self.problems.append("addresses: give at least one IP address")
            return ()
        found = list[Address]()
        for text in value:
            try:
                address = ip_address(text if isinstance(text, str) else str(text))
            except ValueError:
                self.problems.append(f"addresses: {text!r} is not an IP address")
                continue
            if address.is_unspecified or address.is_multicast or getattr(address, "scope_id", None):
                self.problems.append(f"addresses: {text} is not an address that others can connect to")
            elif address not in found:
                found.append(address)
        return tuple(found)

    def labels(self) -> dict[str, str]:
        value = self.take("labels", {})
        if not isinstance(value, Mapping):
            self.problems.append("labels: give names with values")
            return {}
        for key, text in value.items():
            if not isinstance(key, str) or not LABEL_KEY.fullmatch(key):
                self.problems.append(f"labels: {key!r}: use 1-63 letters, digits, '.', '_', '/', '-'")
            if not isinstance(text, str) or len(text) > 255:
                self.problems.append(f"labels: the value of {key!r} must be text of at most 255 characters")
        return dict(value)

    def check(self) -> Check:
        timeout = self.number("timeout", 1.0, 0.01, 60)
        rise, fall = self.integer("rise", 1, 1, 100), self.integer("fall", 2, 1, 100)
        try:
            return parse_check(self.take("check", "tcp"), timeout=timeout, rise=rise, fall=fall)
        except Invalid as error:
            self.problems.append(str(error))
            return Check()

    def finish(self, what: str) -> None:
        self.problems += [f"{name}: no such field" for name in sorted(map(str, self._spec))]
        if self.problems:
            raise Invalid(f"{what}: " + "; ".join(self.problems), self.problems)


def parse_announcement(spec: Mapping[str, Any]) -> Announcement:
    """Strict: unknown fields and wrong types are problems, all of them in one Invalid. Without `id`: `default_id`."""
    reader = _Reader(spec)
    announcement = _read(reader)
    reader.finish("announcement")
    return announcement


def _read(reader: _Reader) -> Announcement:
    addresses, port = reader.addresses(), reader.integer("port", None, 1, 65535)
    return Announcement(
        tenant=reader.label("tenant", "default"),
        service=reader.label("service", longest=SERVICE_MAX),
        id=reader.label("id", default_id(addresses[0], port) if addresses else "none"),
        addresses=addresses,
        port=port,
        check=reader.check(),
        interval=reader.number("interval", 2.0, 0.1, 3600),
        ttl=reader.number("ttl", 15.0, 1, 86400),
        labels=reader.labels(),
    )


def format_announcement(announcement: Announcement) -> dict[str, Any]:
    """Plain values for JSON, what `parse_announcement` reads."""
    return {
        "tenant": announcement.tenant,
        "service": announcement.service,
        "id": announcement.id,
        "addresses": [str(address) for address in announcement.addresses],
        "port": announcement.port,
        "check": str(announcement.check),
        "timeout": announcement.check.timeout,
        "rise": announcement.check.rise,
        "fall": announcement.check.fall,
        "interval": announcement.interval,
        "ttl": announcement.ttl,
        "labels": dict(announcement.labels),
    }


def encode_announcement(announcement: Announcement) -> bytes:
    """The value of an intent in the store."""
    return _dump(format_announcement(announcement))


def decode_announcement(value: bytes) -> Announcement:
    """What `encode_announcement` wrote. Invalid."""
    return parse_announcement(_load(value))


def encode_instance(instance: Instance) -> bytes:
    """The value of a record in the store: the announcement's fields and `machine`, `healthy`, `reason`."""
    health = {"machine": instance.machine, "healthy": instance.healthy, "reason": instance.reason}
    return _dump(format_announcement(instance) | health)


def decode_instance(value: bytes) -> Instance:
    """What `encode_instance` wrote. Invalid."""
    reader = _Reader(_load(value))
    announcement = _read(reader)
    machine, healthy, reason = reader.take("machine"), reader.take("healthy"), reader.take("reason", "")
    if not isinstance(machine, str) or not machine:
        reader.problems.append("machine: missing")
    if not isinstance(healthy, bool) or not isinstance(reason, str):
        reader.problems.append("healthy must be true or false and reason text")
    reader.finish("instance")
    return instance_of(announcement, machine, healthy=healthy, reason=reason)


def _dump(spec: Mapping[str, Any]) -> bytes:
    return json.dumps(spec, separators=(",", ":")).encode()


def _load(value: bytes) -> Mapping[str, Any]:
    try:
        spec = json.loads(value)
    except (ValueError, RecursionError):
        raise Invalid("the value is not JSON") from None
    if not isinstance(spec, dict):
        raise Invalid("the value is not a JSON object")
    return spec
