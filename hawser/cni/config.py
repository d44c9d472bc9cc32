"""What a runtime asks for: CNI_* variables and a JSON document on standard input become one `Request`.

Read strictly for whatever makes something, every problem at once; DEL and GC read only what they need, since what
cannot be read must not keep a container from going. Tuples, not dataclasses: importing those would double the start.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import errors, wishes
from .errors import Failure
from .fields import Fields, short

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
OF_ONE = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")
NEEDS = {
    "ADD": OF_ONE,
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": OF_ONE,
    "STATUS": (),
    "VERSION": (),
    "GC": (),
}
KEEP = "cni.dev/valid-attachments"
OWN = ("tenant", "network", "labels", "socket")
OTHERS = (
    *("cniVersion", "cniVersions", "name", "type", "args", "runtimeConfig", "capabilities", "prevResult", "dns"),
    *("ipam", "ipMasq", "disableCheck", "disableGC"),
)
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ADVICE = "use 1-63 of a-z, 0-9 and -, beginning and ending with a letter or digit"
VARIABLES = {
    "CNI_CONTAINERID": (NAME, "begin with a letter or digit, and go on with those, _, . and -"),
    "CNI_NETNS": (re.compile(r"/[^\0\n]*"), "give an absolute path"),
    "CNI_IFNAME": (
        re.compile(r"(?!\.{1,2}$)[^/:\s\0]{1,15}"),
        "the kernel takes 1-15 characters without /, : or blanks",
    ),
}


class Config(NamedTuple):
    """A network configuration. `keep` are the attachments (container, interface) that stay in a GC, `prev` the result
    of the plugin before, `dns` what the configuration says of it."""

    version: str
    name: str
    socket: str | None = None
    tenant: str = ""
    network: str = ""
    labels: Mapping[str, str] = {}
    addresses: Sequence[str] = ()
    mac: str | None = None
    publish: Sequence[str] = ()
    qos: Mapping[str, int] = {}
    dns: Mapping[str, Any] = {}
    prev: Mapping[str, Any] | None = None
    keep: Sequence[tuple[str, str]] = ()


class Request(NamedTuple):
    """One call of the plugin; what the verb does not need may be empty."""

    command: str
    container: str
    netns: str
    ifname: str
    config: Config


def version_of(text: bytes) -> str:
    """The version that an answer is to have: the configuration's if it is known, else the newest."""
    try:
        said = json.loads(text).get("cniVersion")
    except (ValueError, RecursionError, AttributeError):
        said = None
    return said if isinstance(said, str) and said in VERSIONS else VERSIONS[-1]


def parse(environment: Mapping[str, str], text: bytes) -> Request:
    """The request, or a Failure that names everything wrong with it."""
    command = environment.get("CNI_COMMAND", "")
    if command not in NEEDS:
        raise Failure(errors.ENVIRONMENT, f"CNI_COMMAND {command!r}: give one of {', '.join(NEEDS)}")
    plain = _decode(text.strip() or b"{}" if command == "VERSION" else text)
    if command == "VERSION":
        return Request(command, "", "", "", Config(version_of(text), ""))
    version = _version(plain, command)
    container, netns, ifname = _variables(environment, command)
    return Request(command, container, netns, ifname, _config(plain, version, command, environment))


def _decode(text: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(errors.DECODE, f"standard input is no JSON: {error}; give a network configuration") from None
    if not isinstance(plain, dict):
        raise Failure(errors.DECODE, "standard input is no JSON object; give a network configuration")
    return plain


def _version(plain: Mapping[str, Any], command: str) -> str:
    version = plain.get("cniVersion", "0.1.0")
    if not isinstance(version, str) or version not in VERSIONS:
        raise Failure(errors.VERSION, f"cniVersion {short(version)}: give one of {', '.join(VERSIONS)}")
    since = SINCE.get(command, VERSIONS[0])
    if VERSIONS.index(version) < VERSIONS.index(since):
        raise Failure(errors.VERSION, f"cniVersion {version} has no {command}; give {since} or newer")
    return version


def _variables(environment: Mapping[str, str], command: str) -> list[str]:
    """Container, namespace and interface; what the verb needs is there and well formed."""
    problems = []
    for name in NEEDS[command]:
        pattern, advice = VARIABLES[name]
        value = environment.get(name, "")
        if not value:
            problems.append(f"{name} is missing")
        elif not pattern.fullmatch(value):
            problems.append(f"{name} {value!r}: {advice}")
    if problems:
        raise Failure(errors.ENVIRONMENT, f"{command}: {'; '.join(problems)}")
    return [environment.get(name, "") for name in OF_ONE]


def _config(plain: dict[str, Any], version: str, command: str, environment: Mapping[str, str]) -> Config:
    fields = Fields(plain, "", [])
    name = fields.text("name", NAME, "begin with a letter or digit, and go on with those, _, . and -")
    if name is None and not fields.problems:
        fields.problems.append("name is missing")
    config = Config(version, name or "", fields.text("socket"))
    if command == "GC":
        config = config._replace(keep=_keep(fields))
    elif command != "DEL":
        _refuse_unknown(plain)
        config = _strict(config, fields, environment)
    if fields.problems:
        raise Failure(errors.CONFIG, f"network configuration: {'; '.join(fields.problems)}")
    return config


def _strict(config: Config, fields: Fields, environment: Mapping[str, str]) -> Config:
    network = fields.text("network", LABEL, ADVICE)
    if network is None and not fields.plain.get("network"):
        network = fields.text("name", LABEL, "that is no network's name; give one: network")
    wish = wishes.read(fields, wishes.arguments(environment.get("CNI_ARGS", "")))
    return config._replace(
        tenant=fields.text("tenant", LABEL, ADVICE) or "default",
        network=network or "",
        dns=wishes.dns(fields),
        prev=fields.whole("prevResult"),
        **wish,
    )


def _refuse_unknown(plain: Mapping[str, Any]) -> None:
    """What nobody reads would be a mistake that nobody sees. Keys with / belong to whom they name (as `cni.dev/…`)."""
    for key, value in plain.items():
        if key == "ipam" and value not in (None, {}, {"type": ""}):
            raise Failure(errors.FIELD, f"ipam {short(value)}: the network itself has the addresses; leave it out")
        if key not in (*OWN, *OTHERS) and "/" not in key:
            raise Failure(errors.FIELD, f"{key} {short(value)}: unknown field; own ones are {', '.join(OWN)}")


def _keep(fields: Fields) -> tuple[tuple[str, str], ...]:
    if KEEP not in fields:
        fields.problems.append(f"{KEEP} is missing; without it nothing is known to be valid")
    entries = fields.entries(KEEP)
    found = [(entry.text("containerID"), entry.text("ifname")) for entry in entries]
    if any(None in pair for pair in found):
        fields.wrong(KEEP, "each needs containerID and ifname")
    return tuple((container or "", ifname or "") for container, ifname in found)
