"""What was asked for: the store's records of networks, sandboxes and ports, and a copy of them in memory.

The store is the truth: `load` reads it anew. A record that cannot be read is reported, and while there is one nothing
is removed from the kernel, for it might be what the record means.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from hawser.store import PutOp, Store, absent
from hawser.store.reconcile import Step, Verb

from . import compile as compiler
from . import model, parse
from .compile import Spec
from .errors import Exists, Invalid, NotFound
from .model import Network, Port

T = TypeVar("T")


class Intent:
    """The records by key: networks by `tenant/name`, sandboxes' paths by id, ports by `sandbox:ifname`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.networks: dict[str, Network] = {}
        self.sandboxes: dict[str, str] = {}
        self.ports: dict[str, Port] = {}
        self.unreadable: dict[str, str] = {}

    async def load(self) -> None:
        """Read everything anew, all or nothing."""
        unreadable: dict[str, str] = {}
        networks = await self._read(model.NETWORKS, _network, unreadable)
        ports = await self._read(model.PORTS, _port, unreadable)
        sandboxes = await self._read(model.SANDBOXES, _sandbox, unreadable)
        self.networks, self.ports, self.sandboxes, self.unreadable = networks, ports, sandboxes, unreadable

    def leaving(self, port: Port) -> bool:
        """Whether a port is on its way out, by itself or with its sandbox."""
        return port.leaving or port.sandbox not in self.sandboxes

    async def _read(self, prefix: str, parser: Callable[[str, bytes], T], unreadable: dict[str, str]) -> dict[str, T]:
        found: dict[str, T] = {}
        for entry in (await self._store.range(prefix, prefix=True)).kvs:
            key = entry.key.removeprefix(prefix)
            try:
                found[key] = parser(key, entry.value)
            except (Invalid, ValueError, RecursionError) as error:
                unreadable[entry.key] = f"record {entry.key} cannot be read: {error}; correct or delete it"
        return found

    def network(self, tenant: str, name: str) -> Network:
        """A network, or NotFound."""
        network = self.networks.get(f"{tenant}/{name}")
        if network is None:
            raise NotFound(f"network {tenant}/{name} does not exist; create it: hawser net create -t {tenant} {name}")
        return network

    async def add_network(self, network: Network) -> None:
        """Write a network that must be new. Exists."""
        key = model.NETWORKS + network.key
        value = json.dumps(parse.encode_network(network)).encode()
        if not (await self._store.txn([absent(key)], [PutOp(key, value)])).succeeded:
            raise Exists(f"network {network.key} exists; choose another name or remove it")
        self.networks[network.key] = network

    async def forget_network(self, network: Network) -> None:
        """Remove a network's record."""
        await self._store.delete(model.NETWORKS + network.key)
        self.networks.pop(network.key, None)

    async def add_sandbox(self, sandbox: str, path: str) -> None:
        """Write a sandbox that must be new. Exists."""
        key = model.SANDBOXES + sandbox
        if not (await self._store.txn([absent(key)], [PutOp(key, path.encode())])).succeeded:
            raise Exists(f"sandbox {sandbox} exists; remove it first")
        self.sandboxes[sandbox] = path

    async def forget_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox's record."""
        await self._store.delete(model.SANDBOXES + sandbox)
        self.sandboxes.pop(sandbox, None)

    async def retire(self, port: Port) -> None:
        """Note that a port is no longer wanted; record and claims stay."""
        gone = replace(port, leaving=True)
        await self._store.put(model.PORTS + port.id, json.dumps(parse.encode_port(gone)).encode())
        self.ports[port.id] = gone

    async def forget_everything(self) -> None:
        """Remove every record and claim."""
        await self._store.delete(model.ROOT + "/", prefix=True)
        await self.load()

    def steps(self, instance: str, mtu: int, observed: dict[str, Spec]) -> tuple[Step[Spec], ...]:
        """The plan from what was observed to what the records say."""
        desired = compiler.compile_intent(instance, self.sandboxes, self.networks.values(), self.ports.values(), mtu)
        found = compiler.steps(desired, observed)
        return tuple(step for step in found if not self.unreadable or step.verb is not Verb.DELETE)


def _network(key: str, value: bytes) -> Network:
    network = parse.parse_network(_decoded(value))
    return _named(network, network.key, key)


def _port(key: str, value: bytes) -> Port:
    port = parse.parse_port(_decoded(value))
    return _named(port, port.id, key)


def _sandbox(key: str, value: bytes) -> str:
    parse.check_label(key, "sandbox")
    return parse.parse_path(value.decode())


def _named(record: T, own: str, key: str) -> T:
    if own != key:
        raise Invalid(f"it is {own}'s")
    return record


def _decoded(value: bytes) -> Any:
    plain = json.loads(value)
    if not isinstance(plain, dict):
        raise Invalid("it is no object")
    return plain
