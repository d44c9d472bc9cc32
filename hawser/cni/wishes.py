"""What may be asked for one container beside its network: addresses, a MAC, published ports, limits, labels, names.

What may be said in several places is taken from the first of `runtimeConfig` (the capabilities), `args.cni` and
CNI_ARGS (conventions of CNI). Labels of the network configuration, which its administrator wrote, hold against those
of the caller.
"""

from collections.abc import Mapping
from typing import Any

from . import errors
from .errors import Failure
from .fields import Fields

CAPABILITIES = ("ips", "mac", "portMappings", "bandwidth", "dns")
OF_POD = {
    "K8S_POD_NAME": "io.kubernetes.pod.name",
    "K8S_POD_NAMESPACE": "io.kubernetes.pod.namespace",
    "K8S_POD_UID": "io.kubernetes.pod.uid",
}
ANY = ("0.0.0.0", "::")
RATE_MAX = 10**12


def arguments(text: str) -> dict[str, str]:
    """CNI_ARGS, `NAME=VALUE;…`, or a Failure."""
    pairs = [part.partition("=") for part in text.split(";") if part]
    if wrong := [name for name, equals, _ in pairs if not equals or not name]:
        raise Failure(errors.ENVIRONMENT, f"CNI_ARGS: {wrong[0]!r} is no pair; give NAME=VALUE, with ; between")
    return {name: value for name, _, value in pairs}


def read(fields: Fields, given: Mapping[str, str]) -> dict[str, Any]:
    """What is asked for, by the names of a `Config`."""
    runtime, args = fields.inner("runtimeConfig"), fields.inner("args").inner("cni")
    for key in runtime:
        if key not in CAPABILITIES:
            runtime.wrong(key, f"no such capability here; those are {', '.join(CAPABILITIES)}")
    plain = tuple(part.strip() for part in given.get("IP", "").split(",") if part.strip())
    ips = runtime.texts("ips") or args.texts("ips") or args.texts("addresses") or plain
    mac = runtime.text("mac") or args.text("mac") or given.get("MAC")
    return {
        "addresses": tuple(ip.partition("/")[0] for ip in ips),
        "mac": mac.lower() if mac else None,
        "publish": tuple(one for entry in runtime.entries("portMappings") if (one := _publish(entry))),
        "qos": _qos(runtime.inner("bandwidth")),
        "labels": _labels(fields, args, given),
    }


def _publish(entry: Fields) -> str | None:
    """One mapping as the node writes it; None for a port that is only declared."""
    outer, inner = entry.number("hostPort", 0, 65535), entry.number("containerPort", 1, 65535)
    proto = (entry.text("protocol") or "tcp").lower()
    host = entry.text("hostIP")
    if inner is None and "containerPort" not in entry:
        entry.wrong("containerPort", "give 1-65535")
    if not outer or inner is None:
        return None
    where = "" if host is None or host in ANY else f"[{host}]:" if ":" in host else f"{host}:"
    return f"{where}{outer}:{inner}/{proto}"


def _qos(limits: Fields) -> dict[str, int]:
    """Rates in bit/s; 0 is none. Bursts are the node's to choose."""
    rates = {way: limits.number(f"{way}Rate", 0, RATE_MAX) for way in ("ingress", "egress")}
    return {way: rate for way, rate in rates.items() if rate}


def _labels(fields: Fields, args: Fields, given: Mapping[str, str]) -> dict[str, str]:
    pod = {label: given[name] for name, label in OF_POD.items() if given.get(name)}
    caller = {entry.text("key") or "": entry.text("value") or "" for entry in args.entries("labels")}
    caller.pop("", None)
    return pod | caller | fields.mapping("labels")


def dns(fields: Fields) -> dict[str, Any]:
    """What is said of name service, as a result has it; the runtime's words hold against the configuration's."""
    own, runtime = fields.inner("dns"), fields.inner("runtimeConfig").inner("dns")
    found = {
        "nameservers": list(runtime.texts("servers") or own.texts("nameservers")),
        "domain": own.text("domain"),
        "search": list(runtime.texts("searches") or own.texts("search")),
        "options": list(runtime.texts("options") or own.texts("options")),
    }
    return {key: value for key, value in found.items() if value}
