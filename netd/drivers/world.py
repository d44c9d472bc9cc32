"""The kernel as netd sees it: observe what carries this node's mark, apply one step, both blocking.

Everything runs on one thread of the node's own network namespace. The host's part is the sandboxes, the tenants'
namespaces and one nftables table; each tenant's part is in its namespace: bridges and ports in `links`, tunnels in
`overlay`, rules in `table`.
"""

from collections.abc import Sequence
from pathlib import Path

from hawser.store.reconcile import Step, Verb

from ..errors import NotFound
from ..model import DEFAULT_MTU, Publish, Subnet
from ..specs import (
    BorrowedSpec,
    BridgeSpec,
    PortSpec,
    RemoteSpec,
    RuleSpec,
    SandboxSpec,
    Spec,
    TableSpec,
    TenantSpec,
    TunnelSpec,
)
from . import netns, wire
from .borrowed import Borrowed
from .links import Links
from .overlay import Overlay
from .place import Place
from .probe import probe
from .table import Table
from .tenants import Tenants
from .tune import prepare_sandbox


class Inside:
    """One tenant's namespace: its place, and what works on it."""

    def __init__(self, path: Path, host: Place, instance: str, sandboxes: Path) -> None:
        self.place = Place(path)
        self.links = Links(self.place, instance, path.name, sandboxes)
        self.overlay = Overlay(self.place, host.netlink, instance, path.name)
        self.table = Table(self.place, instance, path.name)
        self.identity = path.stat().st_ino


class World:
    """The links, namespaces and rules of one node; make and use it on one thread."""

    def __init__(self, instance: str, rundir: Path) -> None:
        self._instance = instance
        self._directory = rundir / "netns"
        self._tenants_directory = rundir / "tenants"
        self._host = Place(None)
        self._tenants = Tenants(self._host.netlink, instance, self._tenants_directory)
        self._table = Table(self._host, instance, "")
        self._borrowed = Borrowed(self._host.netlink, instance, rundir / "borrowed", lambda name: self._of(name).place)
        self._inside: dict[str, Inside] = {}

    def close(self) -> None:
        """Let go; nothing is removed."""
        self._host.close()
        for inside in self._inside.values():
            inside.place.close()
        self._inside = {}

    def observe(self) -> dict[str, Spec]:
        """Everything with this node's mark."""
        found = self._sandboxes() | self._tenants.observe() | self._table.observe()
        found |= self._borrowed.observe()
        for name in self._tenants.alive():
            inside = self._of(name)
            found |= inside.table.observe() | inside.links.observe() | inside.overlay.observe()
        return found

    def _of(self, tenant: str) -> Inside:
        """What works on a tenant's namespace; made anew when the namespace is another. NotFound."""
        path = self._tenants_directory / tenant
        if not netns.alive(path):
            self._forget(tenant)
            raise NotFound(f"tenant {tenant} has no namespace here")
        known = self._inside.get(tenant)
        if known is not None and known.identity == path.stat().st_ino:
            return known
        self._forget(tenant)
        self._inside[tenant] = Inside(path, self._host, self._instance, self._directory)
        return self._inside[tenant]

    def _forget(self, tenant: str) -> None:
        if known := self._inside.pop(tenant, None):
            known.place.close()

    def apply(self, step: Step[Spec]) -> None:
        """Do one step, wholly or not at all."""
        spec = step.spec
        if step.verb is Verb.DELETE:
            self._delete(step.key, spec)
        elif isinstance(spec, SandboxSpec):
            _make_sandbox(Path(spec.path), spec.borrowed)
        elif isinstance(spec, TenantSpec):
            self._tenants.make(step.verb, spec)
        elif isinstance(spec, TableSpec):
            self._tables(spec.tenant).create(spec)
        elif isinstance(spec, RuleSpec):
            self._tables(spec.tenant).set(step.verb, spec)
        elif isinstance(spec, BorrowedSpec):
            self._borrowed.set(step.key, spec)
        else:
            self._link(step, spec)

    def _link(self, step: Step[Spec], spec: BridgeSpec | TunnelSpec | RemoteSpec | PortSpec) -> None:
        inside = self._of(spec.tenant)
        if isinstance(spec, BridgeSpec):
            inside.links.set_bridge(step.verb, step.key, spec)
        elif isinstance(spec, TunnelSpec):
            inside.overlay.set_tunnel(step.key, spec)
        elif isinstance(spec, RemoteSpec):
            inside.overlay.set_remote(spec)
        else:
            inside.links.set_port(step.verb, step.key, spec)

    def _tables(self, tenant: str) -> Table:
        return self._of(tenant).table if tenant else self._table

    def _delete(self, key: str, spec: Spec) -> None:
        if isinstance(spec, SandboxSpec):
            netns.remove(Path(spec.path))
        elif isinstance(spec, BorrowedSpec):
            self._borrowed.give_back(key)
        elif isinstance(spec, TenantSpec):
            self._borrowed.give_all_back(spec.name)
            self._forget(spec.name)
            self._tenants.delete(spec)
        else:
            try:
                self._delete_within(spec)
            except NotFound:
                return  # gone with its tenant's namespace

    def _delete_within(self, spec: TableSpec | RuleSpec | BridgeSpec | TunnelSpec | RemoteSpec | PortSpec) -> None:
        if isinstance(spec, TableSpec | RuleSpec):
            self._tables(spec.tenant).delete(spec)
        elif isinstance(spec, RemoteSpec):
            self._of(spec.tenant).overlay.delete_remote(spec)
        elif isinstance(spec, TunnelSpec):
            self._of(spec.tenant).overlay.delete(spec.ifname)
        else:
            self._of(spec.tenant).links.delete(spec.ifname)

    def add_rules(self, rules: Sequence[RuleSpec]) -> None:
        """Add elements of one tenant's tables in one transaction."""
        if rules:
            self._tables(rules[0].tenant).add([(rule.set, rule.element, rule.value) for rule in rules])

    def prepare(self, key: str, spec: PortSpec) -> None:
        """Make a port's link without its addresses, marked as not complete: `apply` completes it, a plan removes it."""
        self._of(spec.tenant).links.prepare(key, spec)

    def uplink_mtu(self) -> int:
        """The MTU of the link with the IPv4 (else IPv6) default route; 1500 without one."""
        netlink = self._host.netlink
        defaults = [
            route
            for route in netlink.routes()
            if route.subnet.prefixlen == 0 and route.index and not route.local and route.table == wire.MAIN_TABLE
        ]
        if defaults:
            best = min(defaults, key=lambda route: (route.version, route.metric))
            for link in netlink.links():
                if link.index == best.index:
                    return link.mtu
        return DEFAULT_MTU

    def used_subnets(self) -> list[Subnet]:
        """Subnets and addresses the host has routes to, defaults left out."""
        return [route.subnet for route in self._host.netlink.routes() if route.subnet.prefixlen]

    def check_free(self, publish: Publish) -> None:
        """Conflict when a process of the host listens on the port; Invalid when the address is not the host's."""
        if publish.host_ip is None:
            hosts = ["0.0.0.0", "::"] if Path("/proc/net/if_inet6").exists() else ["0.0.0.0"]
        else:
            hosts = [str(publish.host_ip)]
        for host in hosts:
            probe(host, publish)

    def _sandboxes(self) -> dict[str, Spec]:
        if not self._directory.is_dir():
            return {}
        return {
            f"sandbox:{path.name}": SandboxSpec(path=str(path), alive=netns.alive(path))
            for path in self._directory.iterdir()
        }


def _make_sandbox(path: Path, borrowed: str | None) -> None:
    if netns.alive(path):
        return
    netns.remove(path)
    if borrowed:
        netns.keep(Path(borrowed), path)
    else:
        netns.create_here(path, prepare_sandbox)
