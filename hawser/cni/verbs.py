"""The verbs of the plugin: each is one request to the node, what it says put into CNI's words.

The node has the records: one sandbox for each container, an attachment for each of its interfaces, with the name of the
CNI network that made it (`context`). A DEL or GC of another network's name removes nothing of it. A failed ADD leaves
nothing: the node undoes what it began, and what it may still make after it was not waited for is removed.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from ..faults import Fault
from . import errors, result
from .config import Request
from .errors import Failure

try:  # hashlib loads OpenSSL, which takes a tenth of the plugin's whole time; random does the same
    from _sha256 import sha256  # type: ignore[import-not-found]
except ImportError:
    from hashlib import sha256

OWNER = "cni"
ATTACHMENTS = "/v1/attachments"


class Node(Protocol):
    """The node's API; Fault with the node's words, OSError when it does not answer in time."""

    def get(self, path: str, **query: object) -> Any: ...
    def post(self, path: str, body: object = None, **query: object) -> Any: ...
    def delete(self, path: str, **query: object) -> Any: ...


class Seen(NamedTuple):
    """An interface as it is: addresses without prefix lengths, gateways of default routes."""

    up: bool
    mac: str
    addresses: frozenset[str]
    gateways: frozenset[str]


class Namespaces(Protocol):
    """Containers' network namespaces by their paths."""

    def check(self, path: str) -> None:
        """Failure unless a container's network namespace is there."""

    def look(self, path: str, ifname: str) -> Seen | None:
        """An interface in it; None when there is none."""


def run(request: Request, node: Node, namespaces: Namespaces) -> dict[str, Any] | None:
    """What to print, if anything. Failure, Fault, OSError."""
    match request.command:
        case "ADD":
            return add(request, node, namespaces)
        case "VERSION":
            return result.versions(request.config.version)
        case "DEL":
            delete(request, node)
        case "CHECK":
            check(request, node, namespaces)
        case "STATUS":
            status(request, node)
        case "GC":
            collect(request, node)
    return None


def sandbox_of(container: str) -> str:
    """The node's id for a container: those of runtimes are any text."""
    return f"cni-{sha256(container.encode()).hexdigest()[:24]}"


def bounded(name: str) -> str:
    """A network's or container's name as a label takes it: at most 255 characters."""
    return name if len(name) <= 255 else sha256(name.encode()).hexdigest()


def add(request: Request, node: Node, namespaces: Namespaces) -> dict[str, Any]:
    """Attach the container; its addresses, routes and names."""
    config = request.config
    before = result.before_of(request)
    namespaces.check(request.netns)
    wanted = {
        "sandbox": sandbox_of(request.container),
        "owner": OWNER,
        "netns": request.netns,
        "ifname": request.ifname,
        "tenant": config.tenant,
        "network": config.network,
        "addresses": list(config.addresses),
        "publish": list(config.publish),
        "labels": dict(config.labels),
        "mac": config.mac,
        "qos": dict(config.qos),
        "context": {"network": bounded(config.name), "container": bounded(request.container)},
    }
    try:
        return result.added(request, before, node.post(ATTACHMENTS, wanted))
    except (Fault, Failure):
        raise
    except BaseException:
        with contextlib.suppress(Fault, OSError):
            delete(request, node)
        raise


def delete(request: Request, node: Node) -> None:
    """Detach the container; nothing when it is not attached."""
    path = f"{ATTACHMENTS}/{sandbox_of(request.container)}/{quote(request.ifname, safe='')}"
    try:
        node.delete(path, owner=OWNER, network=bounded(request.config.name))
    except Fault as fault:
        if fault.kind != "not-found":
            raise


def check(request: Request, node: Node, namespaces: Namespaces) -> None:
    """Failure unless the container has what ADD said, in the node's records and in its namespace."""
    expected = result.expected(request)
    namespaces.check(request.netns)
    found = node.get(ATTACHMENTS, owner=OWNER, sandbox=sandbox_of(request.container))
    name = bounded(request.config.name)
    mine = [one for one in found if one["ifname"] == request.ifname and one["context"].get("network") == name]
    if not mine:
        raise Failure(errors.BROKEN, f"the node has no record of {request.ifname} on {name}; remove and add it")
    problems = [mine[0]["trouble"]] if mine[0]["trouble"] else []
    problems += [f"{one} is not its own" for one in sorted(expected.addresses - {*mine[0]["addresses"]})]
    problems += _differences(expected, namespaces.look(request.netns, request.ifname))
    if problems:
        raise Failure(errors.BROKEN, f"{request.ifname} in {request.netns}: {'; '.join(problems)}")


def _differences(expected: result.Expected, seen: Seen | None) -> list[str]:
    if seen is None:
        return ["no such interface"]
    problems = [] if seen.up else ["it is down"]
    if expected.mac and expected.mac.lower() != seen.mac:
        problems.append(f"its MAC is {seen.mac} instead of {expected.mac}")
    plain = {address.partition("/")[0] for address in expected.addresses}
    problems += [f"address {address} is missing" for address in sorted(plain - seen.addresses)]
    gone = sorted(expected.gateways - seen.gateways)
    return problems + [f"the default route by {gateway} is missing" for gateway in gone]


def status(request: Request, node: Node) -> None:
    """Failure unless an ADD could be served now."""
    config = request.config
    try:
        answer: Mapping[str, Any] = node.get(f"{ATTACHMENTS}/ready", tenant=config.tenant, network=config.network)
    except Fault as fault:
        raise Failure(errors.UNAVAILABLE, str(fault)) from None
    except OSError as error:
        raise Failure(errors.UNAVAILABLE, f"the node does not answer: {error}") from None
    if failures := answer["failures"]:
        raise Failure(errors.LIMITED, f"{len(failures)} failing: {'; '.join(failures[:3])}")


def collect(request: Request, node: Node) -> None:
    """Detach what this network made and nobody has any more."""
    config = request.config
    keep = [{"sandbox": sandbox_of(container), "ifname": ifname} for container, ifname in config.keep]
    answer = node.post(f"{ATTACHMENTS}/gc", {"owner": OWNER, "network": bounded(config.name), "keep": keep})
    if failures := answer["failures"]:
        raise Failure(errors.FAILED, f"{len(failures)} could not be removed: {'; '.join(failures[:3])}")
