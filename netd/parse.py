"""The edge of netd: untrusted mappings and texts become models, or one Invalid that names every problem.

What the store holds is read by the same parsers, so that parse(encode(x)) = x. Types are taken strictly: `true` is no
MTU, `"no"` is no boolean, 5 is no subnet.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from .errors import Invalid
from .model import (
    IFNAME_MAX,
    VNI_MAX,
    VNI_MIN,
    Address,
    Default,
    Direction,
    Endpoint,
    Interface,
    Kind,
    Mirror,
    Network,
    Port,
    Publish,
    Qos,
    Subnet,
    Tunnel,
)

T = TypeVar("T")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
KNOWN = (
    *("default", "encrypted", "gateways", "insecure", "internal", "kind", "mtu", "multicast", "name", "subnets"),
    *("tenant", "tunnel", "vni"),
)
FLAGS = ("internal", "multicast", "encrypted", "insecure")
MTU_MIN, MTU6_MIN, MTU_MAX = 576, 1280, 65535
PROTOS = ("tcp", "udp")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MAPPED = ip_network("::ffff:0:0/96")
PUBLISH = re.compile(r"(?:(\[[^\]]+\]|[^:\[\]]+):)?(\d+):(\d+)(?:/(\w+))?")


def check_label(text: object, what: str) -> str:
    """A name that fits a store key and a DNS label, or Invalid."""
    if not isinstance(text, str) or not LABEL.fullmatch(text):
        raise Invalid(f"{what} {text!r}: use 1-63 of a-z, 0-9 and -, beginning and ending with a letter or digit")
    return text


def check_ifname(text: str) -> str:
    """An interface name the kernel takes (dev_valid_name in net/core/dev.c), or Invalid."""
    if not 0 < len(text.encode()) <= IFNAME_MAX or text in (".", "..", "lo") or re.search(r"[/:%\s\0]", text):
        raise Invalid(f"interface name {text!r}: the kernel takes 1-{IFNAME_MAX} bytes without /, :, % or blanks")
    return text


def parse_address(text: object) -> Address:
    """An address in its one form: no scope id, an IPv4-mapped one (RFC 4291 §2.5.5.2) as IPv4. ValueError.

    Two spellings of one address must be one key, or two containers get it.
    """
    if not isinstance(text, str) or not text.isascii():
        raise ValueError("give it as text, like 10.0.0.1 or fd00::1")
    return plain_address(ip_address(text))


def plain_address(address: Address) -> Address:
    """The one form of an address. ValueError when it has a scope id."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError("an address here has no scope id; leave out the % and what follows")
        return address.ipv4_mapped or address
    return address


def _parse_interface(text: object) -> Interface:
    if not isinstance(text, str) or "%" in text:
        raise ValueError("give an address without a scope id, with its prefix length")
    return ip_interface(text)


def parse_network(spec: Mapping[str, Any]) -> Network:
    """A network from an untrusted mapping; Invalid names every problem at once."""
    problems = [f"unknown field {key!r}; known: {', '.join(KNOWN)}" for key in sorted(map(str, set(spec) - set(KNOWN)))]
    for key in ("tenant", "name"):
        try:
            check_label(spec.get(key), key)
        except Invalid as error:
            problems.append(str(error))
    kind, default, vni = spec.get("kind", _kind_of(spec.get("tunnel"))), spec.get("default"), spec.get("vni", 0)
    if not isinstance(kind, str) or kind not in list(Kind):
        problems.append(f"kind {kind!r}: known kinds: {', '.join(Kind)}")
    tunnel = spec.get("tunnel", "geneve" if kind == "ovs" else "vxlan")
    if not isinstance(tunnel, str) or tunnel not in list(Tunnel):
        problems.append(f"tunnel {tunnel!r}: known tunnels: {', '.join(Tunnel)}")
    elif tunnel != "vxlan" and kind == "bridge":
        problems.append(f"tunnel {tunnel}: networks of kind bridge have vxlan; choose kind ovs")
    if default is not None and (not isinstance(default, str) or default not in list(Default)):
        problems.append(f"default {default!r}: give {' or '.join(Default)}")
    flags = {name: spec.get(name, False) for name in FLAGS}
    problems += [
        f"{name} {value!r}: give true or false" for name, value in flags.items() if not isinstance(value, bool)
    ]
    if flags["insecure"] is True and flags["encrypted"] is False:
        problems.append("insecure: only an encrypted network can agree to go without; set encrypted, or leave it out")
    if not isinstance(vni, int) or isinstance(vni, bool) or (vni and not VNI_MIN <= vni <= VNI_MAX):
        problems.append(f"vni {vni!r}: give {VNI_MIN}-{VNI_MAX}")
    subnets: tuple[Subnet, ...] = _parsed(spec.get("subnets", ()), ip_network, "subnet", problems)
    given: tuple[Address, ...] = _parsed(spec.get("gateways", ()), parse_address, "gateway", problems)
    problems += _subnet_problems(subnets) or _mtu_problems(spec.get("mtu"), subnets)
    gateways = _gateways(subnets, given, problems)
    if problems:
        raise Invalid("network: " + "; ".join(problems))
    return Network(
        tenant=spec["tenant"],
        name=spec["name"],
        kind=Kind(kind),
        tunnel=Tunnel(tunnel),
        subnets=subnets,
        gateways=gateways,
        mtu=spec.get("mtu"),
        vni=vni,
        default=None if default is None else Default(default),
        **flags,
    )


def _kind_of(tunnel: object) -> str:
    """The kind of a network that only says what carries it."""
    return "ovs" if tunnel == "geneve" else "bridge"


def _parsed(texts: object, parse: Callable[[str], T], what: str, problems: list[str]) -> tuple[T, ...]:
    found: list[T] = []
    for text in texts if isinstance(texts, Sequence) and not isinstance(texts, str) else (texts,):
        try:
            if not isinstance(text, str) or "%" in text:
                raise ValueError("give it as text, like 10.0.0.0/24 or 10.0.0.1")
            found.append(parse(text))
        except ValueError as error:
            problems.append(f"{what} {text!r}: {error}")
    return tuple(found)


def _subnet_problems(subnets: Sequence[Subnet]) -> list[str]:
    problems = []
    for index, one in enumerate(subnets):
        if one.num_addresses < 4:
            problems.append(f"subnet {one} has no room for a gateway and a container; use at most /30 or /126")
        mapped = one.version == 6 and one.overlaps(MAPPED)
        if mapped or one.is_loopback or one.is_multicast or one.is_link_local or one.network_address.is_unspecified:
            problems.append(f"subnet {one} has a meaning of its own; use a private or a public one")
        for other in subnets[index + 1 :]:
            if one.version == other.version:
                what = "overlap" if one.overlaps(other) else f"are both IPv{one.version}"
                problems.append(f"subnets {one} and {other} {what}; give at most one of each version")
    return problems


def _mtu_problems(mtu: object, subnets: Sequence[Subnet]) -> list[str]:
    if mtu is None:
        return []
    if not isinstance(mtu, int) or isinstance(mtu, bool) or not MTU_MIN <= mtu <= MTU_MAX:
        return [f"mtu {mtu!r}: give {MTU_MIN}-{MTU_MAX}"]
    if mtu < MTU6_MIN and (not subnets or any(subnet.version == 6 for subnet in subnets)):
        return [f"mtu {mtu}: IPv6 needs {MTU6_MIN} (RFC 8200 §5); raise it, or give only an IPv4 subnet"]
    return []


def _gateways(subnets: Sequence[Subnet], given: Sequence[Address], problems: list[str]) -> tuple[Address, ...]:
    found: list[Address] = []
    left = list(given)
    for subnet in subnets:
        mine = [address for address in left if address in subnet]
        if len(mine) > 1:
            problems.append(f"gateways {', '.join(map(str, mine))} are both in {subnet}; give one")
        left = [address for address in left if address not in mine]
        gateway = mine[0] if mine else subnet.network_address + (subnet.num_addresses > 1)
        if mine and gateway in (subnet.network_address, subnet.broadcast_address):
            problems.append(f"gateway {gateway} is the first or last address of {subnet}; choose another")
        found.append(gateway)
    problems += [f"gateway {address} is in none of the subnets" for address in left]
    return tuple(found)


def parse_publish(text: str) -> Publish:
    """`[HOST_IP:]HOST_PORT:PORT[/proto]`, an IPv6 address in brackets: the inverse of `str(Publish)`."""
    match = PUBLISH.fullmatch(text)
    if match is None:
        raise Invalid(f"publish {text!r}: give [HOST_IP:]HOST_PORT:PORT[/tcp|udp], an IPv6 address in brackets")
    host, outer, inner, proto = match.groups()
    try:
        host_ip = parse_address(host.strip("[]")) if host else None
    except ValueError as error:
        raise Invalid(f"publish {text!r}: {error}") from None
    return check_publish(Publish(host_port=int(outer), port=int(inner), proto=proto or "tcp", host_ip=host_ip))


def check_publish(publish: Publish) -> Publish:
    """A published port in its one form (every address of the host is `host_ip` None), or Invalid."""
    if publish.proto not in PROTOS:
        raise Invalid(f"publish {str(publish)!r}: protocol {publish.proto!r} is not known; use tcp or udp")
    for port in (publish.host_port, publish.port):
        if not isinstance(port, int) or not 1 <= port <= 65535:
            raise Invalid(f"publish {str(publish)!r}: port {port} is not in 1-65535")
    if publish.host_ip is None:
        return publish
    try:
        host_ip = plain_address(publish.host_ip)
    except ValueError as error:
        raise Invalid(f"publish {str(publish)!r}: {error}") from None
    if host_ip.is_multicast or (host_ip.version == 6 and host_ip.is_link_local):
        raise Invalid(f"publish {publish}: {host_ip} leads to more than this host; give one of its own addresses")
    return replace(publish, host_ip=None if host_ip.is_unspecified else host_ip)


def decoded(value: bytes) -> dict[str, Any]:
    """The object that a record holds. Invalid, ValueError, RecursionError."""
    plain = json.loads(value)
    if not isinstance(plain, dict):
        raise Invalid("it is no object")
    return plain


def encode_qos(qos: Qos) -> dict[str, int]:
    """The plain form that `parse_qos` reads back."""
    return {name: value for name in QOS if (value := getattr(qos, name)) is not None}


def encode_mirrors(mirrors: Sequence[Mirror]) -> list[dict[str, str]]:
    """The plain form that `parse_mirrors` reads back."""
    return [{"direction": str(mirror.direction), "to": mirror.to} for mirror in mirrors]


def encode_network(network: Network) -> dict[str, Any]:
    """The plain form that `parse_network` reads back."""
    return {
        "tenant": network.tenant,
        "name": network.name,
        "kind": str(network.kind),
        "tunnel": str(network.tunnel),
        "subnets": [str(subnet) for subnet in network.subnets],
        "gateways": [str(gateway) for gateway in network.gateways],
        "internal": network.internal,
        "mtu": network.mtu,
        "vni": network.vni,
        "multicast": network.multicast,
        "encrypted": network.encrypted,
        **({"insecure": True} if network.insecure else {}),
        "default": None if network.default is None else str(network.default),
    }


def encode_port(port: Port) -> dict[str, Any]:
    """The plain form that `parse_port` reads back."""
    qos = encode_qos(port.qos)
    return {
        "machine": port.machine,
        "sandbox": port.sandbox,
        "ifname": port.ifname,
        "tenant": port.tenant,
        "network": port.network,
        "netns": port.netns,
        "mac": port.mac,
        "addresses": [str(address) for address in port.addresses],
        "publish": [str(publish) for publish in port.publish],
        **({"labels": dict(port.labels)} if port.labels else {}),
        **({"qos": qos} if qos else {}),
        **({"mirrors": encode_mirrors(port.mirrors)} if port.mirrors else {}),
        **({"reserved": port.reserved} if port.reserved else {}),
        **({"leaving": True} if port.leaving else {}),
        **({"link": port.link} if port.link else {}),
    }


def encode_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """The plain form that `parse_endpoint` reads back."""
    return {
        "machine": endpoint.machine,
        "address": str(endpoint.address),
        "mtu": endpoint.mtu,
        "public_key": endpoint.public_key,
        "inner": None if endpoint.inner is None else str(endpoint.inner),
        "wireguard_port": endpoint.wireguard_port,
    }


def parse_endpoint(plain: Mapping[str, Any]) -> Endpoint:
    """An endpoint from its plain form in the store; Invalid when it is no such thing."""
    try:
        inner = plain.get("inner")
        return Endpoint(
            machine=check_label(plain["machine"], "machine"),
            address=parse_address(plain["address"]),
            mtu=int(plain["mtu"]),
            public_key=plain.get("public_key"),
            inner=None if inner is None else parse_address(inner),
            wireguard_port=int(plain.get("wireguard_port", 0)),
        )
    except KeyError as error:
        raise Invalid(f"endpoint: {error} is missing") from error
    except (ValueError, TypeError) as error:
        raise Invalid(f"endpoint: {error}") from error


def check_labels(labels: object) -> dict[str, str]:
    """Labels of a port: texts by text, at most 255 characters each; Invalid."""
    if not isinstance(labels, Mapping):
        raise Invalid(f"labels {labels!r}: give names with texts")
    for name, text in labels.items():
        if not fits_label(name) or not fits_label(text):
            raise Invalid(f"label {name!r}={text!r}: give plain text of at most 255 characters")
    return dict(labels)


def fits_label(part: object) -> bool:
    """Whether this can be a label's name or text: no policy speaks of any other."""
    return isinstance(part, str) and len(part) <= 255 and part.isprintable()


QOS = ("ingress", "egress", "dscp")


def parse_qos(plain: object) -> Qos:
    """Limits of a port: `ingress` and `egress` in bit/s from 8000, `dscp` 0-63; Invalid."""
    if not isinstance(plain, Mapping) or set(plain) - set(QOS):
        raise Invalid(f"qos {plain!r}: known: {', '.join(QOS)}")
    for name, value in plain.items():
        low, high = (0, 63) if name == "dscp" else (8000, 10**12)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high):
            raise Invalid(f"qos {name} {value!r}: give {low}-{high}")
    return Qos(**{str(name): value for name, value in plain.items()})


def parse_mirrors(plain: object) -> tuple[Mirror, ...]:
    """Mirrors of a port, sorted; Invalid."""
    if not isinstance(plain, list):
        raise Invalid(f"mirrors {plain!r}: give a list")
    found = set()
    for one in plain:
        sandbox, _, ifname = str(one.get("to")).partition(":") if isinstance(one, Mapping) else ("", "", "")
        if not isinstance(one, Mapping) or set(one) != {"direction", "to"} or one["direction"] not in list(Direction):
            raise Invalid(f"mirror {one!r}: give direction ({' or '.join(Direction)}) and to")
        to = f"{check_label(sandbox, 'sandbox')}:{check_ifname(ifname)}"
        found.add(Mirror(direction=Direction(one["direction"]), to=to))
    return tuple(sorted(found, key=lambda mirror: (mirror.direction, mirror.to)))


def parse_path(text: object) -> str:
    """The path of a namespace, absolute; Invalid."""
    if not isinstance(text, str) or not text.startswith("/") or not text.isprintable():
        raise Invalid(f"path {text!r}: give an absolute path in plain text")
    return text


def parse_mac(text: object) -> str:
    """A unicast MAC in its one form; Invalid."""
    if not isinstance(text, str) or not MAC.fullmatch(text):
        raise Invalid(f"mac {text!r}: give six octets, like 02:00:00:00:00:01")
    if int(text[1], 16) & 1 or text == "00:00:00:00:00:00":
        raise Invalid(f"mac {text}: one interface has it; give a unicast one, like 02:00:00:00:00:01")
    return text


def parse_port(plain: Mapping[str, Any]) -> Port:
    """A port from its plain form in the store; Invalid when it is no such thing."""
    try:
        return Port(
            machine=check_label(plain["machine"], "machine"),
            sandbox=check_label(plain["sandbox"], "sandbox"),
            ifname=check_ifname(plain["ifname"]),
            tenant=check_label(plain["tenant"], "tenant"),
            network=check_label(plain["network"], "network"),
            netns=parse_path(plain["netns"]),
            mac=parse_mac(plain["mac"]),
            addresses=tuple(_parse_interface(address) for address in plain["addresses"]),
            publish=tuple(parse_publish(publish) for publish in plain["publish"]),
            labels=check_labels(plain.get("labels", {})),
            qos=parse_qos(plain.get("qos", {})),
            mirrors=parse_mirrors(plain.get("mirrors", [])),
            reserved=plain.get("reserved"),
            leaving=plain.get("leaving", False) is True,
            link=check_ifname(plain["link"]) if plain.get("link") else None,
        )
    except KeyError as error:
        raise Invalid(f"port: {error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise Invalid(f"port: {error}") from error
