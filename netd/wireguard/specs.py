"""What the encrypted overlay should be on one machine, compiled from the records of all machines.

A machine's record (Endpoint) names its underlay address, its public keys (`keys.Keys.public`) and its first UDP port;
slot 1 has the port after it. What a peer may send is never taken from its record: its one inner address follows from
its name, so that no machine can speak as another. A record that makes no sense costs its own machine only.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Interface

from ..errors import Invalid
from ..model import INNER, Address, Endpoint, derived
from . import keys

PORT = 51820
KEEPALIVE = 25
OVERHEAD = {4: 60, 6: 80}
MTU_MIN = 1280
SLOTS = (0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSpec:
    """Another machine: its public key (base64), `ip:port` in the underlay, the addresses it may send from (CIDR), and
    every how many seconds it hears from us at least (0: only when there is something)."""

    public_key: str
    endpoint: str
    allowed_ips: tuple[str, ...]
    keepalive: int = KEEPALIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardSpec:
    """One interface: its address is a /128, its MTU in bytes, `public_key` its own; peers in order of their keys."""

    ifname: str
    listen_port: int
    address: IPv6Address
    mtu: int
    public_key: str
    peers: tuple[PeerSpec, ...] = ()
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """The machines that speak WireGuard with this one, by name; `problems`: of the others, a line each."""

    records: Mapping[str, Endpoint]
    problems: tuple[str, ...] = ()


def inner_address(machine: str) -> IPv6Address:
    """A machine's address inside: fd68:6177:7267::/64 (RFC 4193) and 64 bits of its name's hash."""
    return IPv6Address(INNER.network_address.packed[:8] + hashlib.sha256(machine.encode()).digest()[:8])


def mtu_inside(underlay_mtu: int, version: int) -> int:
    """The MTU of WireGuard over an underlay of IPv4 or IPv6, in bytes: less its IP and UDP headers and 32 of
    WireGuard's (header 16, tag 16). Invalid when IPv6 cannot live there (RFC 8200, section 5)."""
    mtu = underlay_mtu - OVERHEAD[version]
    if mtu < MTU_MIN:
        least = MTU_MIN + OVERHEAD[version]
        raise Invalid(f"an underlay of MTU {underlay_mtu} is too small for WireGuard; it needs {least}")
    return mtu


def key_of_slot(slot: int) -> str:
    """The key of an interface's mark and name."""
    return f"wireguard:{slot}"


def ifname_of(instance: str, slot: int) -> str:
    """The interface of a slot."""
    return derived("hww", instance, key_of_slot(slot))


def alias_of(instance: str, slot: int) -> str:
    """The mark of a slot's interface."""
    return f"hawser:{instance}:{key_of_slot(slot)}"


def announce(machine: str, address: Address, mtu: int, public: str, port: int = PORT) -> Endpoint:
    """The record of a machine that speaks WireGuard; `mtu` is the underlay's. Invalid."""
    if not 1 <= port < 65535:
        raise Invalid(f"WireGuard port {port}: 1 to 65534, and the port after it must be free too")
    mtu_inside(mtu, address.version)
    return Endpoint(
        machine=machine,
        address=address,
        mtu=mtu,
        public_key=public,
        inner=inner_address(machine),
        wireguard_port=port,
    )


def announced(record: Endpoint) -> tuple[str, ...]:
    """The public keys of a record by slot: two, or one where there is no slot 1. Invalid."""
    found = tuple((record.public_key or "").split(","))
    if len(found) > len(SLOTS) or len({*found}) != len(found):
        raise Invalid("two keys that differ are needed, one for each slot")
    for key in found:
        keys.decode(key)
    return found


def peers_of(own: Endpoint, records: Iterable[Endpoint]) -> Peers:
    """Whom `own` speaks with, and why not with others that announce a key. A key belongs to whoever comes first by
    name, and one's own to nobody else."""
    seen = dict.fromkeys(announced(own), own.machine)
    good: dict[str, Endpoint] = {}
    problems: list[str] = []
    for record in sorted(records, key=lambda record: record.machine):
        if record.machine == own.machine or record.public_key is None:
            continue
        if problem := _problem(own, record, seen):
            problems.append(f"no encryption with machine {record.machine}: {problem}")
            continue
        good[record.machine] = record
        seen |= dict.fromkeys(announced(record), record.machine)
    return Peers(records=good, problems=tuple(problems))


def _problem(own: Endpoint, record: Endpoint, seen: Mapping[str, str]) -> str | None:
    try:
        announced_keys = announced(record)
    except Invalid as error:
        return f"its record: {error}"
    for key in announced_keys:
        if key in seen:
            return f"machine {seen[key]} has the same key (a copied disk?); remove wireguard.key on one of them"
    if record.address.version != own.address.version:
        return f"its address {record.address} is not of IPv{own.address.version}, as ours is"
    if not 1 <= record.wireguard_port < 65535:
        return f"its record: port {record.wireguard_port}"
    return None


def compile_peers(own: Endpoint, peers: Peers, instance: str, slot: int) -> WireguardSpec:
    """The interface of a slot on the machine that announces `own`. Invalid when the underlay's MTU is too small."""
    found = [
        PeerSpec(
            public_key=announced(record)[slot],
            endpoint=_endpoint(record.address, record.wireguard_port + slot),
            allowed_ips=(f"{inner_address(machine)}/128",),
        )
        for machine, record in peers.records.items()
        if slot < len(announced(record))
    ]
    return WireguardSpec(
        ifname=ifname_of(instance, slot),
        listen_port=own.wireguard_port + slot,
        address=inner_address(own.machine),
        mtu=mtu_inside(own.mtu, own.address.version),
        public_key=announced(own)[slot],
        peers=tuple(sorted(found, key=lambda peer: peer.public_key)),
    )


def prefixed(address: IPv6Address) -> IPv6Interface:
    """An inner address as an interface has it."""
    return IPv6Interface((address, 128))


def _endpoint(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
