"""What was asked for: the store's records of the cluster's networks and this machine's part, and a copy in memory.

The store is the truth: `load` reads it anew. A record that cannot be read is reported, and while there is one nothing
is removed from the kernel, for it might be what the record means.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hawser.store import (
    Compare,
    DeleteOp,
    EventKind,
    KeyValue,
    PutOp,
    Store,
    WatchBatch,
    absent,
    unchanged,
)
from hawser.store.reconcile import Step, Verb

from . import compile as compiler
from . import ipam, model, parse, specs, transit
from .errors import Conflict, Exists, Invalid, NetError, NotFound
from .fabric import Fabric
from .model import Floating, Network, Policy, Port, Router, Tenant
from .objects import records
from .objects.kinds import KINDS
from .site import Site
from .specs import Spec

T = TypeVar("T")
VNI_TRIES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A namespace of this machine, kept at `path`; a borrowed one was at `source` and is there for `owner`. A
    source of `model.LINK` and a name: no namespace, but a link of the host's."""

    path: str
    owner: str = ""
    source: str = ""


class Intent:
    """The records: everything of the cluster in `fabric`, and of this machine its sandboxes by id and the numbers of
    its tenants' transit networks."""

    def __init__(self, store: Store, machine: str) -> None:
        self._store = store
        self.machine = machine
        self.fabric = Fabric()
        self.sandboxes: dict[str, Sandbox] = {}
        self.numbers: dict[str, int] = {}
        self.unreadable: dict[str, str] = {}
        self.revision = 0
        """The store's as of which everything here is"""
        self._kept = {
            model.SANDBOXES: f"{model.SANDBOXES}{machine}/",
            model.TRANSIT: f"{model.TRANSIT}{machine}/",
        }

    @property
    def networks(self) -> Mapping[str, Network]:
        """Every network by key."""
        return self.fabric.networks

    @property
    def ports(self) -> dict[str, Port]:
        """This machine's ports by id."""
        return {port.id: port for port in self.fabric.at(self.machine).values()}

    def port(self, id: str) -> Port | None:
        """One of this machine's ports."""
        return self.fabric.ports.get(f"{self.machine}/{id}")

    async def load(self) -> None:
        """Read everything anew, all or nothing."""
        answer = await self._store.range(f"{model.ROOT}/", prefix=True)
        found = answer.kvs
        fabric, unreadable = Fabric(), dict[str, str]()
        fabric.networks = _all(found, "network", Network, unreadable)
        fabric.tenants = _all(found, "tenant", Tenant, unreadable)
        fabric.routers = _all(found, "router", Router, unreadable)
        fabric.policies = _all(found, "policy", Policy, unreadable)
        fabric.floating = _all(found, "floating", Floating, unreadable)
        fabric.endpoints = _read(found, model.ENDPOINTS, _endpoint, unreadable)
        fabric.set_ports(_ports(found, unreadable))
        sandboxes = _read(found, self._kept[model.SANDBOXES], _sandbox, unreadable)
        numbers = _read(found, self._kept[model.TRANSIT], lambda key, value: int(value), unreadable)
        self.fabric, self.sandboxes, self.numbers, self.unreadable = fabric, sandboxes, numbers, unreadable
        self.revision = answer.revision

    def follow(self, batch: WatchBatch) -> list[tuple[Port | None, Port | None]]:
        """Learn of ports that came, changed or went after what is known here; returns each as it was and is. NetError
        when a record cannot be read; then `load`."""
        changes = []
        for event in batch.events:
            key = event.kv.key.removeprefix(model.PORTS)
            after = records.read_port(event.kv) if event.kind is EventKind.PUT else None
            changes.append((self.fabric.ports.get(key), after))
            if after is None:
                self.fabric.drop_port(key)
            else:
                self.fabric.put_port(after)
        self.revision = batch.revision
        return changes

    def leaving(self, port: Port) -> bool:
        """Whether a port of this machine is on its way out, by itself or with its sandbox."""
        return port.leaving or port.sandbox not in self.sandboxes

    def network(self, tenant: str, name: str) -> Network:
        """A network, or NotFound."""
        network = self.networks.get(f"{tenant}/{name}")
        if network is None:
            raise NotFound(f"network {tenant}/{name} does not exist; create it: hawser net create -t {tenant} {name}")
        return network

    async def add_network(self, network: Network) -> Network:
        """Write a network that must be new, with a VNI that nobody has. Exists, Conflict."""
        key = model.NETWORKS + network.key
        candidates = [network.vni] if network.vni else ipam.vnis(network.key, VNI_TRIES)
        for vni in candidates:
            network = replace(network, vni=vni)
            claim, value = f"{model.VNIS}{vni}", json.dumps(parse.encode_network(network)).encode()
            puts = [PutOp(key, value), PutOp(claim, network.key.encode())]
            if (await self._store.txn([absent(key), absent(claim)], puts)).succeeded:
                self.fabric.networks[network.key] = network
                return network
            if await self._store.get(key) is not None:
                raise Exists(f"network {network.key} exists; choose another name or remove it")
        raise ipam.no_vni(network, len(candidates))

    async def forget_network(self, network: Network, unused: Sequence[Compare] = ()) -> None:
        """Remove a network's record. Conflict when `unused` does not hold any more."""
        gone = [DeleteOp(model.NETWORKS + network.key), DeleteOp(f"{model.VNIS}{network.vni}")]
        if not (await self._store.txn(unused, gone)).succeeded:
            raise Conflict(f"network {network.key} has just come into use; look again: hawser net show")
        self.fabric.networks.pop(network.key, None)

    async def add_sandbox(self, sandbox: str, kept: Sandbox) -> None:
        """Write a sandbox that must be new. Exists."""
        key = self._kept[model.SANDBOXES] + sandbox
        value = json.dumps({"path": kept.path, "owner": kept.owner, "source": kept.source}).encode()
        if not (await self._store.txn([absent(key)], [PutOp(key, value)])).succeeded:
            raise Exists(f"sandbox {sandbox} exists; remove it first")
        self.sandboxes[sandbox] = kept

    async def forget_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox's record."""
        await self._store.delete(self._kept[model.SANDBOXES] + sandbox)
        self.sandboxes.pop(sandbox, None)

    async def number(self, tenant: str) -> None:
        """See that a tenant has a transit number on this machine."""
        if tenant not in self.numbers:
            number = transit.free_number(set(self.numbers.values()))
            await self._store.put(self._kept[model.TRANSIT] + tenant, str(number).encode())
            self.numbers[tenant] = number

    async def change_port(self, port: Port, change: Callable[[Port], Port]) -> Port:
        """Write one of this machine's ports changed; returns it. NotFound when it is gone, and what `change` raises."""
        while True:
            entry = await self._store.get(model.PORTS + port.key)
            there = None if entry is None else records.read_port(entry)
            if entry is None or there is None or there.leaving:
                raise NotFound(f"{port.sandbox} has no interface {port.ifname}")
            changed = change(there)
            put = PutOp(entry.key, json.dumps(parse.encode_port(changed)).encode())
            if (await self._store.txn([unchanged(entry)], [put])).succeeded:
                self.fabric.put_port(changed)
                return changed

    async def retire(self, port: Port) -> None:
        """Note that a port is no longer wanted; record and claims stay."""
        gone = replace(port, leaving=True)
        await self._store.put(model.PORTS + port.key, json.dumps(parse.encode_port(gone)).encode())
        self.fabric.put_port(gone)

    async def relabel(self, port: Port, labels: Mapping[str, str | None]) -> None:
        """Give a port these labels, and take away those that are None; nothing when it is gone. Conflict when it has
        just been changed."""
        entry = await self._store.get(model.PORTS + port.key)
        if entry is None:
            return
        present = records.read_port(entry)
        wanted = {name: text for name, text in {**present.labels, **labels}.items() if text is not None}
        changed = replace(present, labels=wanted)
        put = PutOp(entry.key, json.dumps(parse.encode_port(changed)).encode())
        if not (await self._store.txn([unchanged(entry)], [put])).succeeded:
            raise Conflict(f"port {port.id} has just been changed; try again")
        self.fabric.put_port(changed)

    async def forget_everything(self, *, alone: bool) -> None:
        """Remove every record and claim: all there is when no other machine is there, else what is this machine's."""
        if alone:
            await self._store.delete(model.ROOT + "/", prefix=True)
        else:
            for root in (model.PORTS, model.SANDBOXES, model.PUBLISHED, model.TRANSIT):
                await self._store.delete(f"{root}{self.machine}/", prefix=True)
            await self._store.delete(model.ENDPOINTS + self.machine)
        await self.load()

    def desired(self, site: Site) -> dict[str, Spec]:
        """What the records say should be on this machine."""
        return compiler.compile_intent(self.fabric, site, self.sandboxes)

    def steps(self, desired: Mapping[str, Spec], observed: Mapping[str, Spec]) -> tuple[Step[Spec], ...]:
        """The plan from what was observed to what is desired."""
        found = specs.steps(desired, observed)
        return tuple(step for step in found if not self.unreadable or step.verb is not Verb.DELETE)


def _all(entries: Iterable[KeyValue], word: str, kind: type[T], unreadable: dict[str, str]) -> dict[str, T]:
    """The objects of one kind (objects/kinds.py) by key."""
    prefix, found = KINDS[word].prefix, dict[str, T]()
    for entry in entries:
        if entry.key.startswith(prefix):
            try:
                thing = records.read(entry)
                assert isinstance(thing, kind)
                found[entry.key.removeprefix(prefix)] = thing
            except NetError as error:
                unreadable[entry.key] = str(error)
    return found


def _ports(entries: Iterable[KeyValue], unreadable: dict[str, str]) -> Iterator[Port]:
    for entry in entries:
        if entry.key.startswith(model.PORTS):
            try:
                yield records.read_port(entry)
            except NetError as error:
                unreadable[entry.key] = str(error)


def _read(
    entries: Iterable[KeyValue], prefix: str, parser: Callable[[str, bytes], T], unreadable: dict[str, str]
) -> dict[str, T]:
    found: dict[str, T] = {}
    for entry in entries:
        if entry.key.startswith(prefix):
            key = entry.key.removeprefix(prefix)
            try:
                found[key] = parser(key, entry.value)
            except (Invalid, ValueError, RecursionError) as error:
                unreadable[entry.key] = f"record {entry.key} cannot be read: {error}; correct or delete it"
    return found


def _endpoint(key: str, value: bytes) -> model.Endpoint:
    endpoint = parse.parse_endpoint(parse.decoded(value))
    if endpoint.machine != key:
        raise Invalid(f"it is {endpoint.machine}'s")
    return endpoint


def _sandbox(key: str, value: bytes) -> Sandbox:
    parse.check_label(key, "sandbox")
    plain = parse.decoded(value)
    owner, source = (str(plain.get(name, "")) for name in ("owner", "source"))
    return Sandbox(path=parse.parse_path(plain.get("path")), owner=owner, source=source)
