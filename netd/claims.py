"""Who holds which address and which host port: claims in the store, taken in one transaction with the port's record.

An address is a key of its own that must be absent. A host port is one key for all addresses of the host, since a
publication on every address excludes one on a single address: its value lists the holders, and must be unchanged. So
two can never hold the same, whoever asks, and a claim without a port (a process killed in between) cannot come about.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hawser.store import Compare, DeleteOp, KeyValue, Op, PutOp, Store, absent, unchanged

from . import ipam, model, parse
from .errors import Conflict, Invalid, NetError
from .model import Address, Network, Port, Publish, Qos, Subnet, interface
from .objects.records import BOUND, owner, read_port

TRIES = 64
EVERY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a port asks for; `fixed` addresses by IP version, which `reserved`, a reservation's key, may have."""

    machine: str
    sandbox: str
    ifname: str
    netns: str
    mac: str
    fixed: Mapping[int, Address]
    publish: tuple[Publish, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    qos: Qos = field(default_factory=Qos)
    reserved: str | None = None
    link: str | None = None

    @property
    def id(self) -> str:
        """The port's id to be: `sandbox:ifname`."""
        return f"{self.sandbox}:{self.ifname}"

    @property
    def key(self) -> str:
        """The port's key to be."""
        return f"{self.machine}/{self.id}"


def fixed_addresses(network: Network, wanted: Sequence[str]) -> dict[int, Address]:
    """Requested addresses by version. Invalid."""
    fixed: dict[int, Address] = {}
    for text in wanted:
        try:
            address = parse.parse_address(text)
        except ValueError as error:
            raise Invalid(f"address {text!r}: {error}") from None
        ipam.check_fixed(network, address)
        if address.version in fixed:
            raise Invalid(f"addresses {fixed[address.version]} and {address}: give at most one of each version")
        fixed[address.version] = address
    return fixed


class Claims:
    """The claims of every port of one machine. Memory holds a copy of the addresses taken, the store decides."""

    def __init__(self, store: Store, machine: str) -> None:
        self._store = store
        self._machine = machine
        self._taken: dict[str, set[Address]] = {}
        self._last: dict[tuple[str, int], Address] = {}

    def remember(self, ports: Iterable[Port]) -> None:
        """Take the ports of the store as the addresses that are held."""
        self._taken = {}
        for port in ports:
            self._taken.setdefault(port.on, set()).update(address.ip for address in port.addresses)

    def moved(self, before: Port | None, after: Port | None) -> None:
        """A port of the store is no longer `before` but `after`."""
        if before is not None:
            self._taken.get(before.on, set()).difference_update(address.ip for address in before.addresses)
        if after is not None:
            self._taken.setdefault(after.on, set()).update(address.ip for address in after.addresses)

    async def take(self, network: Network, wanted: Wanted) -> Port:
        """Choose addresses and write the port with all its claims, in one transaction; again when somebody was faster.

        Conflict, Unavailable (no address left).
        """
        taken = self._taken.setdefault(network.key, set())
        for _ in range(TRIES):
            chosen = [self._choose(network, subnet, wanted, taken) for subnet in network.subnets]
            port = _port(network, wanted, chosen)
            compares, puts = await self._published(port)
            for key in self._own(port, chosen):
                compares.append(absent(key))
                puts.append(PutOp(key, port.key.encode()))
            record = PutOp(model.PORTS + port.key, json.dumps(parse.encode_port(port)).encode())
            if (await self._store.txn([*compares, absent(record.key)], [*puts, record])).succeeded:
                taken.update(chosen)
                self._last |= {(network.key, address.version): address for address in chosen}
                return port
            await self._learn(network, wanted, chosen, taken)
        raise Conflict(f"network {network.key}: too many others take addresses at once; try again")

    async def release(self, port: Port) -> None:
        """Give back a port's claims and remove its record; nothing when it is not there. NetError when it holds a host
        port whose holders cannot be read."""
        deletes: list[Op] = [DeleteOp(key) for key in self._own(port, [address.ip for address in port.addresses])]
        deletes.append(DeleteOp(model.PORTS + port.key))
        while True:
            compares, given = await self._unpublished(port)
            if (await self._store.txn(compares, [*deletes, *given])).succeeded:
                break
        self._taken.get(port.on, set()).difference_update(address.ip for address in port.addresses)

    async def drop(self, port: str) -> None:
        """Release a port by its key, if there is one."""
        entry = await self._store.get(model.PORTS + port)
        if entry is not None:
            await self.release(read_port(entry))

    def _own(self, port: Port, addresses: Sequence[Address]) -> list[str]:
        """The claims a port makes: its addresses, or of a reservation, which has them, the right to use it now."""
        if port.reserved is not None:
            return [_bound_key(port.reserved)]
        return [_address_key(port.on, address) for address in addresses]

    def _choose(self, network: Network, subnet: Subnet, wanted: Wanted, taken: set[Address]) -> Address:
        if fixed := wanted.fixed.get(subnet.version):
            return fixed
        after = self._last.get((network.key, subnet.version))
        for address in ipam.candidates(network, subnet, taken, after):
            return address
        raise ipam.exhausted(network, subnet)

    async def _learn(self, network: Network, wanted: Wanted, chosen: Sequence[Address], taken: set[Address]) -> None:
        """Why the transaction failed: a fixed address that is held is an error, another is passed over."""
        for address in chosen:
            holder = await self._store.get(_address_key(network.key, address))
            if holder is None or wanted.reserved:
                continue
            if wanted.fixed.get(address.version) == address:
                raise Conflict(f"address {address} of {network.key} is held by {owner(holder)}; choose another")
            taken.add(address)
        if wanted.reserved and (holder := await self._store.get(_bound_key(wanted.reserved))):
            raise Conflict(f"port {wanted.reserved} is used by {owner(holder)}; detach it there first")
        if await self._store.get(f"{model.PORTS}{wanted.key}"):
            raise Conflict(f"{wanted.sandbox} has an interface {wanted.ifname} already; choose another name")

    async def _published(self, port: Port) -> tuple[list[Compare], list[Op]]:
        compares: list[Compare] = []
        wanted: dict[str, dict[str, str]] = {}
        for publish in port.publish:
            key = self._published_key(publish)
            if key not in wanted:
                compare, wanted[key] = await self._holders(key)
                compares.append(compare)
            host, holders = str(publish.host_ip or EVERY), wanted[key]
            clash = holders.get(host) or holders.get(EVERY) or (host == EVERY and next(iter(holders.values()), None))
            if clash:
                raise Conflict(f"cannot publish {publish}: {clash.split(':')[0]} has the port; choose another")
            holders[host] = port.id
        return compares, [PutOp(key, json.dumps(holders).encode()) for key, holders in wanted.items()]

    async def _unpublished(self, port: Port) -> tuple[list[Compare], list[Op]]:
        compares: list[Compare] = []
        ops: list[Op] = []
        for key in sorted({self._published_key(publish) for publish in port.publish}):
            compare, holders = await self._holders(key)
            left = {host: holder for host, holder in holders.items() if holder != port.id}
            compares.append(compare)
            ops.append(PutOp(key, json.dumps(left).encode()) if left else DeleteOp(key))
        return compares, ops

    def _published_key(self, publish: Publish) -> str:
        return f"{model.PUBLISHED}{self._machine}/{publish.proto}/{publish.host_port}"

    async def _holders(self, key: str) -> tuple[Compare, dict[str, str]]:
        entry = await self._store.get(key)
        if entry is None:
            return absent(key), {}
        return unchanged(entry), _decoded(entry)


def _port(network: Network, wanted: Wanted, chosen: Sequence[Address]) -> Port:
    return Port(
        machine=wanted.machine,
        sandbox=wanted.sandbox,
        ifname=wanted.ifname,
        tenant=network.tenant,
        network=network.name,
        netns=wanted.netns,
        mac=wanted.mac,
        addresses=tuple(interface(a, s) for a, s in zip(chosen, network.subnets, strict=True)),
        publish=wanted.publish,
        labels=wanted.labels,
        qos=wanted.qos,
        reserved=wanted.reserved,
        link=wanted.link,
    )


def _address_key(network: str, address: Address) -> str:
    return f"{model.ADDRESSES}{network}/{address}"


def _bound_key(reserved: str) -> str:
    return f"{model.RESERVED}{reserved}{BOUND}"


def _decoded(entry: KeyValue) -> dict[str, str]:
    try:
        holders = json.loads(entry.value)
        if isinstance(holders, dict) and all(isinstance(holder, str) for holder in holders.values()):
            return holders
    except (ValueError, RecursionError):
        pass
    raise NetError(f"record {entry.key} cannot be read: it lists no holders of a port; correct or delete it")
