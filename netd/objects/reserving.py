"""What a reservation gets and claims: the addresses and the MAC that it asks for, or the next ones that are free.

Its claims are those of ports, with `reserved:` and its key as the holder. Whoever attaches with it takes the claim of
using it; as long as somebody does, it stays where it is, and what else changes of it changes of that port too.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from hawser.store import Compare, DeleteOp, KeyValue, Op, PutOp, absent, unchanged

from .. import ipam, model, parse
from ..errors import Conflict
from ..model import Address, Network, Reservation, Subnet, interface
from .checks import World
from .records import BOUND, OWNER, View, owner, read_port


def reserve(
    view: View, world: World, wish: Reservation, present: Reservation | None
) -> tuple[Reservation, list[Compare], list[Op]]:
    """A reservation with its MAC and addresses, and the claims of those."""
    network = world.network(wish.tenant, wish.network)
    assert network is not None
    wish = settled(wish, present)
    claims = {entry.key: entry for entry in view.beneath(f"{model.ADDRESSES}{network.key}/")}
    addresses = tuple(
        interface(_choose(network, subnet, wish, claims, _claim_keys(present)), subnet) for subnet in network.subnets
    )
    mac = wish.mac or model.mac_of("reserved", wish.key)
    _check_mac(view, network, mac, wish.key)
    wanted = replace(wish, mac=mac, addresses=addresses)
    bound = f"{model.RESERVED}{wanted.key}{BOUND}"
    ops: list[Op] = []
    compares: list[Compare] = []
    if holder := view.entries.get(bound):
        if present is None or (present.network, present.mac, present.addresses) != (wanted.network, mac, addresses):
            raise Conflict(f"port {wanted.key} is used by {owner(holder)}; detach it there to change where it is")
        compares.append(unchanged(holder))
        ops += _carry(view, wanted, holder, compares)
    else:
        compares.append(absent(bound))
    old, new = _claim_keys(present), _claim_keys(wanted)
    compares += [absent(key) for key in sorted(new - old)]
    ops += [PutOp(key, (OWNER + wanted.key).encode()) for key in sorted(new - old)]
    ops += [DeleteOp(key) for key in sorted(old - new)]
    return wanted, compares, ops


def settled(wish: Reservation, present: Reservation | None) -> Reservation:
    """A wish with what it leaves open as it is at present: its MAC, its addresses on the same network."""
    if present is None or present.network != wish.network:
        return wish
    given = {address.version: address for address in wish.addresses}
    found = {**given}
    for kept in present.addresses:
        if given.get(kept.version, kept).ip == kept.ip:
            found[kept.version] = kept  # with its prefix length
    return replace(wish, mac=wish.mac or present.mac, addresses=tuple(found[version] for version in sorted(found)))


def _choose(
    network: Network, subnet: Subnet, wish: Reservation, claims: Mapping[str, KeyValue], own: set[str]
) -> Address:
    for address in wish.addresses:
        if address.ip in subnet:
            key = f"{model.ADDRESSES}{network.key}/{address.ip}"
            if key in claims and key not in own:
                raise Conflict(f"address {address.ip} of {network.key} is held by {owner(claims[key])}; choose another")
            return address.ip
    for candidate in ipam.candidates(network, subnet, _Claimed(f"{model.ADDRESSES}{network.key}/", claims), None):
        return candidate
    raise ipam.exhausted(network, subnet)


class _Claimed(Collection[Address]):
    """The addresses of claims, none of them parsed before it is asked for."""

    def __init__(self, prefix: str, claims: Mapping[str, KeyValue]) -> None:
        self._prefix = prefix
        self._claims = claims

    def __contains__(self, address: object) -> bool:
        return f"{self._prefix}{address}" in self._claims

    def __iter__(self) -> Iterator[Address]:
        return (parse.parse_address(key.removeprefix(self._prefix)) for key in self._claims)

    def __len__(self) -> int:
        return len(self._claims)


def _claim_keys(reservation: Reservation | None) -> set[str]:
    if reservation is None:
        return set()
    where = f"{model.ADDRESSES}{reservation.tenant}/{reservation.network}/"
    return {f"{where}{address.ip}" for address in reservation.addresses}


def _check_mac(view: View, network: Network, mac: str, key: str) -> None:
    """Conflict when a port on the network has the MAC, unless it has it from this reservation."""
    for entry in view.beneath(model.PORTS):
        port = read_port(entry)
        if port.mac == mac and port.on == network.key and port.reserved != key:
            raise Conflict(f"MAC {mac} is {port.sandbox}'s on {network.key}; choose another")


def _carry(view: View, wanted: Reservation, holder: KeyValue, compares: list[Compare]) -> list[Op]:
    """The port that uses a reservation gets its labels and limits too, and keeps what hawser itself noted with it."""
    entry = view.entries.get(model.PORTS + holder.value.decode(errors="replace"))
    if entry is None:
        return []
    port = read_port(entry)
    own = {name: text for name, text in port.labels.items() if name.startswith(model.OWN_LABELS)}
    labels = {**wanted.labels, **own}
    if (port.labels, port.qos) == (labels, wanted.qos):
        return []
    compares.append(unchanged(entry))
    changed = replace(port, labels=labels, qos=wanted.qos)
    return [PutOp(entry.key, json.dumps(parse.encode_port(changed)).encode())]
