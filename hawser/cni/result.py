"""What the plugin prints: results and errors as each version of the specification has them.

A result begins with what the plugin before made (`prevResult`) and goes on with ours: indices of interfaces stay as
they are. Until 0.4.0 an address says its version; an interface's MTU is told from 1.1.0 on.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from . import errors
from .config import VERSIONS, Request
from .errors import Failure
from .fields import Fields

DOMAIN = "mesh.internal"
WITH_VERSION = ("0.3.1", "0.4.0")
TEXTS = {"interfaces": ("name", "mac", "sandbox"), "ips": ("address", "gateway"), "routes": ("dst", "gw")}
MOST = 1 << 31
DEFAULTS = {"4": "0.0.0.0/0", "6": "::/0"}


class Expected(NamedTuple):
    """Our interface as a `prevResult` has it: addresses with prefix lengths, gateways of default routes."""

    mac: str | None
    addresses: frozenset[str]
    gateways: frozenset[str]


def versions(version: str) -> dict[str, Any]:
    """The answer to VERSION."""
    return {"cniVersion": version, "supportedVersions": list(VERSIONS)}


def error(version: str, failure: Failure) -> dict[str, Any]:
    """An error."""
    return {"cniVersion": version, "code": failure.code, "msg": str(failure)}


def added(request: Request, before: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to ADD, of what was there `before` and an attachment's document."""
    config = request.config
    interface: dict[str, Any] = {"name": request.ifname, "mac": made["mac"], "sandbox": request.netns}
    if config.version not in ("0.3.1", "0.4.0", "1.0.0"):
        interface["mtu"] = made["mtu"]
    index = len(before["interfaces"])
    routes = [{"dst": DEFAULTS[_family(gateway)], "gw": gateway} for gateway in made["routes"]]
    return {
        "cniVersion": config.version,
        "interfaces": [*before["interfaces"], interface],
        "ips": [*before["ips"], *_ips(made, index, config.version)],
        "routes": [*before["routes"], *(route for route in routes if route not in before["routes"])],
        "dns": _dns(request, made, before["dns"]),
    }


def _ips(made: Mapping[str, Any], index: int, version: str) -> list[dict[str, Any]]:
    gateways = {_family(gateway): gateway for gateway in made["gateways"]}
    found = []
    for address in made["addresses"]:
        family = _family(address)
        entry: dict[str, Any] = {"version": family} if version in WITH_VERSION else {}
        entry |= {"address": address, "interface": index}
        if family in gateways:
            entry["gateway"] = gateways[family]
        found.append(entry)
    return found


def _family(text: str) -> str:
    return "6" if ":" in text else "4"


def _dns(request: Request, made: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The gateways answer names; what was said before or is configured holds, word by word."""
    own = f"{made['tenant']}.{DOMAIN}"
    dns = {"nameservers": list(made["gateways"]), "domain": own, "search": [own, DOMAIN]}
    return dns | {key: value for key, value in before.items() if value} | dict(request.config.dns)


def before_of(request: Request) -> dict[str, Any]:
    """What the plugin before made, in the form of this version. Failure when it is no result."""
    fields = Fields(request.config.prev or {}, "prevResult.", [])
    found: dict[str, Any] = {"dns": fields.inner("dns").plain}
    for key, texts in TEXTS.items():
        entries = fields.entries(key)
        found[key] = [dict(entry.plain) for entry in entries]
        for entry in entries:
            for name in texts:
                entry.text(name)
            entry.number("interface", 0, MOST)
    for entry in found["ips"]:
        if not entry.get("address"):
            fields.problems.append("prevResult.ips: each needs an address")
    if fields.problems:
        raise Failure(errors.CONFIG, "; ".join(fields.problems))
    for entry in found["ips"]:
        entry.pop("version", None)
        if request.config.version in WITH_VERSION:
            entry["version"] = _family(entry["address"])
    return found


def expected(request: Request) -> Expected:
    """What CHECK has to find, of `prevResult`. Failure when there is none, or nothing of ours in it."""
    if request.config.prev is None:
        raise Failure(errors.CONFIG, "CHECK needs prevResult, the result of ADD; give it")
    before = before_of(request)
    ours = [n for n, one in enumerate(before["interfaces"]) if _is_ours(one, request)]
    if not ours:
        raise Failure(errors.CONFIG, f"prevResult has no interface {request.ifname} in {request.netns}; give ADD's")
    mine = [one for one in before["ips"] if one.get("interface") in ours]
    gateways = {one.get("gateway") for one in mine}
    through = {one.get("gw") for one in before["routes"] if one.get("dst") in DEFAULTS.values()}
    mac = before["interfaces"][ours[0]].get("mac")
    return Expected(mac, frozenset(one["address"] for one in mine), frozenset((gateways & through) - {None}))


def _is_ours(interface: Mapping[str, Any], request: Request) -> bool:
    return interface.get("name") == request.ifname and interface.get("sandbox") == request.netns
