"""netd's agent: intent goes to the store first, then to the kernel, one owner for both.

An attachment claims its addresses and writes its port in one transaction, so two never share an address; then only what
the port needs is made, whatever else exists. `reconcile` compares everything with everything: at start (what a crash
left is removed, what is missing is made), and whenever asked. A failed attachment is undone before its error is raised.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from hawser.store import Compare, DeleteOp, PutOp, Store, absent
from hawser.store.reconcile import Step, Verb

from . import compile as intent
from . import ipam, model, rules
from .compile import BridgeSpec, PortSpec, RuleSpec, SandboxSpec, Spec, TableSpec
from .drivers.world import World
from .errors import Conflict, Exists, Invalid, NetError, NotFound
from .model import Address, Interface, Network, Port, Publish

T = TypeVar("T")
CLAIM_TRIES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What a sandbox got: its addresses, the gateways of its network, the interface and its MAC."""

    sandbox: str
    ifname: str
    tenant: str
    network: str
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mac: str
    publish: tuple[Publish, ...] = ()


class NetAgent:
    """The tenant networks of one node. `open` before use; every method may raise NetError."""

    def __init__(self, store: Store, instance: str, rundir: Path) -> None:
        self._store = store
        self._instance = instance
        self._rundir = rundir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netd")
        self._lock = asyncio.Lock()
        self._world: World | None = None
        self._mtu = 1500
        self._networks: dict[str, Network] = {}
        self._ports: dict[str, Port] = {}
        self._sandboxes: dict[str, str] = {}
        self._last: dict[tuple[str, int], Address] = {}

    async def open(self) -> None:
        """Take hold of the kernel and bring it to the intent."""
        self._world = await self._on(lambda: World(self._instance, self._rundir))
        await self.reconcile()

    async def close(self) -> None:
        """Let go; everything keeps working."""
        if self._world is not None:
            await self._on(self._world.close)
        self._thread.shutdown()

    async def create_network(self, spec: Mapping[str, Any]) -> Network:
        """Make a network; without subnets it gets a free /24 and /64. Invalid, Exists, Conflict, Unavailable."""
        network = model.parse_network(spec)
        async with self._lock:
            if network.key in self._networks:
                raise Exists(f"network {network.key} exists; choose another name or remove it")
            busy = await self._busy()
            if not network.subnets:
                subnets = ipam.free_subnets(busy)
                network = model.parse_network(model.encode_network(network) | {"subnets": [str(s) for s in subnets]})
            for subnet in network.subnets:
                if clash := next((s for s in busy if s.version == subnet.version and s.overlaps(subnet)), None):
                    raise Conflict(f"network {network.key}: {subnet} overlaps {clash}, in use here; choose another")
            value = json.dumps(model.encode_network(network)).encode()
            await self._store.put(model.NETWORKS + network.key, value)
            self._networks[network.key] = network
            try:
                await self._make_network(network)
            except NetError:
                await self._drop_network(network)
                raise
        return network

    async def remove_network(self, tenant: str, name: str) -> None:
        """Remove a network that has no ports. NotFound, Conflict."""
        async with self._lock:
            network = self._network(tenant, name)
            users = sorted(
                port.sandbox for port in self._ports.values() if f"{port.tenant}/{port.network}" == network.key
            )
            if users:
                raise Conflict(f"network {network.key} is used by {', '.join(users[:3])}; remove those first")
            await self._drop_network(network)

    async def networks(self) -> tuple[Network, ...]:
        return tuple(self._networks[key] for key in sorted(self._networks))

    async def network(self, tenant: str, name: str) -> Network:
        return self._network(tenant, name)

    async def make_sandbox(self, sandbox: str) -> str:
        """A new network namespace; returns its path."""
        model.check_label(sandbox, "sandbox")
        async with self._lock:
            if sandbox in self._sandboxes:
                raise Exists(f"sandbox {sandbox} exists")
            path = str(self._rundir / "netns" / sandbox)
            await self._store.put(model.SANDBOXES + sandbox, path.encode())
            self._sandboxes[sandbox] = path
            try:
                await self._on(lambda: self._kernel().make_sandbox(path))
            except NetError:
                await self._forget_sandbox(sandbox)
                raise
            return path

    async def attach(
        self,
        sandbox: str,
        *,
        tenant: str,
        network: str,
        ifname: str = "eth0",
        addresses: Sequence[str] = (),
        publish: Sequence[Publish] = (),
    ) -> Attachment:
        """Attach a sandbox to a network under `ifname`; fixed `addresses` or the next free ones."""
        model.check_ifname(ifname)
        async with self._lock:
            target = self._network(tenant, network)
            if sandbox not in self._sandboxes:
                raise NotFound(f"sandbox {sandbox} does not exist")
            if f"{sandbox}:{ifname}" in self._ports:
                raise Exists(f"{sandbox} has an interface {ifname}; choose another name")
            await self._check_publish(publish)
            port = await self._claim(sandbox, target, ifname, addresses, tuple(publish))
            try:
                await self._on(lambda: self._make_port(target, port))
            except BaseException:
                await self._drop_port(port)
                raise
            return self._attachment(port)

    async def detach(self, sandbox: str, ifname: str) -> None:
        """Take an interface away. NotFound."""
        async with self._lock:
            port = self._ports.get(f"{sandbox}:{ifname}")
            if port is None:
                raise NotFound(f"{sandbox} has no interface {ifname}")
            await self._drop_port(port)

    async def remove_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox with all its ports; nothing when it is not there."""
        async with self._lock:
            ports = [port for port in self._ports.values() if port.sandbox == sandbox]
            for port in ports:
                await self._drop_port(port)
            path = self._sandboxes.get(sandbox)
            if path is not None:
                await self._on(lambda: self._kernel().delete("", SandboxSpec(path=path)))
                await self._forget_sandbox(sandbox)

    def attachments(self, sandbox: str | None = None) -> tuple[Attachment, ...]:
        """What a sandbox (or everybody) has, by interface name."""
        ports = sorted(self._ports.values(), key=lambda port: port.id)
        return tuple(self._attachment(port) for port in ports if sandbox in (None, port.sandbox))

    def sandboxes(self) -> Mapping[str, str]:
        """Every sandbox's path."""
        return dict(self._sandboxes)

    async def plan(self) -> tuple[Step[Spec], ...]:
        """What `reconcile` would do now; changes nothing."""
        async with self._lock:
            await self._load()
            return await self._plan()

    async def reconcile(self) -> tuple[Step[Spec], ...]:
        """Bring the kernel to the intent; returns the steps done. A failed step fails alone."""
        async with self._lock:
            await self._load()
            done: list[Step[Spec]] = []
            failures: list[str] = []
            for step in await self._plan():
                try:
                    await self._on(lambda step=step: self._apply(step))  # type: ignore[misc]
                    done.append(step)
                except (NetError, OSError) as error:
                    failures.append(f"{step.key}: {error}")
            if failures:
                raise NetError(f"{len(failures)} steps failed: {'; '.join(failures[:3])}")
            return tuple(done)

    async def teardown(self) -> None:
        """Remove every port, sandbox, network and rule of this node, from the kernel and the store."""
        async with self._lock:
            for prefix in (model.PORTS, model.ADDRESSES, model.SANDBOXES, model.NETWORKS):
                await self._store.delete(prefix, prefix=True)
            await self._load()
            observed = await self._on(lambda: self._kernel().observe())
            for step in intent.steps({}, observed):
                await self._on(lambda step=step: self._apply(step))  # type: ignore[misc]

    # -- the rest is under the lock, or has no await

    def _kernel(self) -> World:
        if self._world is None:
            raise NetError("netd is not open")
        return self._world

    async def _on(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _network(self, tenant: str, name: str) -> Network:
        network = self._networks.get(f"{tenant}/{name}")
        if network is None:
            raise NotFound(f"network {tenant}/{name} does not exist; create it: hawser net create -t {tenant} {name}")
        return network

    def _attachment(self, port: Port) -> Attachment:
        network = self._networks.get(f"{port.tenant}/{port.network}")
        return Attachment(
            sandbox=port.sandbox,
            ifname=port.ifname,
            tenant=port.tenant,
            network=port.network,
            addresses=port.addresses,
            gateways=network.gateways if network else (),
            mac=port.mac,
            publish=port.publish,
        )

    async def _load(self) -> None:
        """Read the intent anew: the store is the truth, memory only its copy."""
        self._mtu = await self._on(lambda: self._kernel().uplink_mtu())
        networks = (await self._store.range(model.NETWORKS, prefix=True)).kvs
        self._networks = {n.key: n for n in (model.parse_network(json.loads(entry.value)) for entry in networks)}
        ports = (await self._store.range(model.PORTS, prefix=True)).kvs
        self._ports = {p.id: p for p in (model.parse_port(json.loads(entry.value)) for entry in ports)}
        sandboxes = (await self._store.range(model.SANDBOXES, prefix=True)).kvs
        self._sandboxes = {entry.key.removeprefix(model.SANDBOXES): entry.value.decode() for entry in sandboxes}

    def _desired(self) -> dict[str, Spec]:
        return intent.compile_intent(
            self._instance, self._sandboxes, self._networks.values(), self._ports.values(), self._mtu
        )

    async def _plan(self) -> tuple[Step[Spec], ...]:
        observed = await self._on(lambda: self._kernel().observe())
        return intent.steps(self._desired(), observed)

    def _apply(self, step: Step[Spec]) -> None:
        world, spec = self._kernel(), step.spec
        if step.verb is Verb.DELETE:
            world.delete(step.key, spec)
        elif isinstance(spec, TableSpec):
            world.make_table()
            # a table made anew has lost its elements
            elements = [s for s in self._desired().values() if isinstance(s, RuleSpec)]
            world.add_rules([(s.set, s.element, s.value) for s in elements])
        elif isinstance(spec, SandboxSpec):
            world.make_sandbox(spec.path)
        elif isinstance(spec, BridgeSpec):
            self._apply_bridge(step.verb, step.key, spec)
        elif isinstance(spec, PortSpec):
            port = self._ports[step.key.removeprefix("port:")]
            network = self._networks[f"{port.tenant}/{port.network}"]
            if step.verb is Verb.UPDATE:
                world.delete(step.key, spec)
            world.make_port(step.key, spec, port, network.gateways)
        else:
            if step.verb is Verb.UPDATE:
                world.remove_rules([(spec.set, spec.element, None)])
            world.add_rules([(spec.set, spec.element, spec.value)])

    def _apply_bridge(self, verb: Verb, key: str, spec: BridgeSpec) -> None:
        world = self._kernel()
        if verb is Verb.CREATE:
            world.make_bridge(key, spec)
            return
        observed = world.observe().get(key)
        have = observed.addresses if isinstance(observed, BridgeSpec) else ()
        world.fix_bridge(spec, [address for address in have if address not in spec.addresses])

    async def _busy(self) -> list[model.Subnet]:
        routes = await self._on(lambda: self._kernel().used_subnets())
        return [*routes, *(subnet for network in self._networks.values() for subnet in network.subnets)]

    async def _make_network(self, network: Network) -> None:
        def make() -> None:
            spec = intent.bridge_spec(self._instance, network, self._mtu)
            self._kernel().make_bridge(f"bridge:{network.key}", spec)
            self._kernel().add_rules(rules.of_network(network, spec.ifname))

        await self._on(make)

    async def _drop_network(self, network: Network) -> None:
        await self._store.delete(model.NETWORKS + network.key)
        self._networks.pop(network.key, None)
        spec = intent.bridge_spec(self._instance, network, self._mtu)

        def drop() -> None:
            self._quietly(lambda: self._kernel().remove_rules(rules.of_network(network, spec.ifname)))
            self._kernel().delete(f"bridge:{network.key}", spec)

        await self._on(drop)

    @staticmethod
    def _quietly(act: Callable[[], None]) -> None:
        """Undo what may not have been done."""
        try:
            act()
        except NetError:
            return

    def _make_port(self, network: Network, port: Port) -> None:
        spec = intent.port_spec(self._instance, network, port, self._mtu)
        self._kernel().make_port(f"port:{port.id}", spec, port, network.gateways)
        self._kernel().add_rules(rules.of_port(port))

    async def _drop_port(self, port: Port) -> None:
        network = self._networks[f"{port.tenant}/{port.network}"]
        spec = intent.port_spec(self._instance, network, port, self._mtu)
        addresses = [DeleteOp(self._address_key(network, address.ip)) for address in port.addresses]

        def drop() -> None:
            self._quietly(lambda: self._kernel().remove_rules(rules.of_port(port)))
            self._kernel().delete(f"port:{port.id}", spec)

        await self._on(drop)
        await self._store.txn((), (DeleteOp(model.PORTS + port.id), *addresses))
        self._ports.pop(port.id, None)

    async def _forget_sandbox(self, sandbox: str) -> None:
        await self._store.delete(model.SANDBOXES + sandbox)
        self._sandboxes.pop(sandbox, None)

    async def _check_publish(self, publish: Sequence[Publish]) -> None:
        for wanted in publish:
            for port in self._ports.values():
                for other in port.publish:
                    if _same_port(wanted, other):
                        raise Conflict(
                            f"cannot publish {wanted.host_port}/{wanted.proto}: container {port.sandbox} has it; "
                            "choose another port"
                        )
            await self._on(lambda wanted=wanted: self._kernel().check_free(wanted))  # type: ignore[misc]

    @staticmethod
    def _address_key(network: Network, address: Address) -> str:
        return f"{model.ADDRESSES}{network.key}/{address}"

    async def _claim(
        self, sandbox: str, network: Network, ifname: str, wanted: Sequence[str], publish: tuple[Publish, ...]
    ) -> Port:
        """Choose addresses and write the port, as one transaction; again when somebody was faster."""
        fixed = _fixed(network, wanted)
        taken = {a.ip for p in self._ports.values() if f"{p.tenant}/{p.network}" == network.key for a in p.addresses}
        for _ in range(CLAIM_TRIES):
            chosen = [fixed.get(subnet.version) or self._next(network, subnet, taken) for subnet in network.subnets]
            port = Port(
                sandbox=sandbox,
                ifname=ifname,
                tenant=network.tenant,
                network=network.name,
                netns=self._sandboxes[sandbox],
                mac=model.mac_of(self._instance, f"{sandbox}:{ifname}"),
                addresses=tuple(rules.interface(a, s) for a, s in zip(chosen, network.subnets, strict=True)),
                publish=publish,
            )
            keys = [self._address_key(network, address) for address in chosen]
            compares: list[Compare] = [absent(key) for key in keys]
            puts = [PutOp(key, port.id.encode()) for key in keys]
            puts.append(PutOp(model.PORTS + port.id, json.dumps(model.encode_port(port)).encode()))
            if (await self._store.txn(compares, puts)).succeeded:
                self._ports[port.id] = port
                self._last |= {(network.key, address.version): address for address in chosen}
                return port
            for address, key in zip(chosen, keys, strict=True):
                holder = await self._store.get(key)
                if holder is not None and fixed.get(address.version) == address:
                    owner = holder.value.decode().split(":")[0]
                    raise Conflict(f"address {address} of {network.key} is held by {owner}; choose another")
                if holder is not None:
                    taken.add(address)
        raise Conflict(f"network {network.key}: too many others take addresses at once; try again")

    def _next(self, network: Network, subnet: model.Subnet, taken: set[Address]) -> Address:
        after = self._last.get((network.key, subnet.version))
        for address in ipam.candidates(network, subnet, taken, after):
            return address
        raise ipam.exhausted(network, subnet)


def _fixed(network: Network, wanted: Sequence[str]) -> dict[int, Address]:
    fixed: dict[int, Address] = {}
    for text in wanted:
        try:
            address = ip_address(text)
        except ValueError as error:
            raise Invalid(f"address {text!r}: {error}") from None
        ipam.check_fixed(network, address)
        if address.version in fixed:
            raise Invalid(f"addresses {fixed[address.version]} and {address}: give at most one of each version")
        fixed[address.version] = address
    return fixed


def _same_port(one: Publish, other: Publish) -> bool:
    if (one.host_port, one.proto) != (other.host_port, other.proto):
        return False
    return one.host_ip is None or other.host_ip is None or one.host_ip == other.host_ip
