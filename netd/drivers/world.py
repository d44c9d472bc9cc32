"""The kernel as netd sees it: observe what carries this node's mark, apply one step, both blocking.

Everything runs on one thread of the node's own network namespace. The host's part is the sandboxes, the tenants'
namespaces and one nftables table; each tenant's part is in its namespace: bridges and ports in `links`, tunnels in
`overlay`, rules in `table`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from hawser.store.reconcile import Step, Verb

from ..errors import NotFound, Unavailable
from ..model import DEFAULT_MTU, Address, Interface, Publish, Subnet
from ..ovs.drivers import programs
from ..policy.flush import Connection
from ..qos.drivers.tc import Tc
from ..qos.specs import QosSpec
from ..specs import (
    BorrowedSpec,
    BridgeSpec,
    FloatingSpec,
    GatewaySpec,
    LinkSpec,
    PortSpec,
    RemoteSpec,
    RouteSpec,
    RuleSpec,
    SandboxSpec,
    Spec,
    SwitchSpec,
    TableSpec,
    TenantSpec,
    TunnelSpec,
)
from . import netns, wire
from .borrowed import Borrowed
from .gateways import Gateways
from .links import Links
from .outer import Outer
from .overlay import Overlay
from .place import Place
from .probe import probe
from .routes import Routes
from .switch import Switch
from .table import Table
from .tenants import Tenants
from .tune import prepare_sandbox


class Inside:
    """One tenant's namespace: its place, and what works on it."""

    def __init__(self, path: Path, host: Place, instance: str, sandboxes: Path) -> None:
        self.place = Place(path)
        self.links = Links(self.place, instance, path.name, sandboxes)
        self.overlay = Overlay(self.place, host.netlink, instance, path.name)
        self.routes = Routes(self.place, instance, path.name)
        self.table = Table(self.place, instance, path.name)
        self.identity = path.stat().st_ino
        self._instance, self._tenant = instance, path.name
        self._tc: Tc | None = None

    @property
    def tc(self) -> Tc:
        """What limits and mirrors ports; made when first asked for."""
        if self._tc is None:
            self._tc = Tc(self.place, self._instance, self._tenant)
        return self._tc

    def close(self) -> None:
        """Let go; nothing is removed."""
        if self._tc is not None:
            self._tc.close()
        self.place.close()


class World:
    """The links, namespaces and rules of one node; make and use it on one thread."""

    def __init__(self, instance: str, rundir: Path) -> None:
        self._instance = instance
        self._directory = rundir / "netns"
        self._tenants_directory = rundir / "tenants"
        self._host = Place(None)
        self._tenants = Tenants(self._host.netlink, instance, self._tenants_directory)
        self._table = Table(self._host, instance, "")
        self._outer = Outer(self._host, instance)
        self._switch = Switch(self._host, instance, rundir / "switch", self._directory)
        self._gateways = Gateways(self._switch.place, instance, self._tenants_directory)
        self._borrowed = Borrowed(self._host.netlink, instance, rundir / "borrowed", lambda name: self._of(name).place)
        self._inside: dict[str, Inside] = {}

    def close(self) -> None:
        """Let go; nothing is removed."""
        self._host.close()
        self._switch.close()
        for inside in self._inside.values():
            inside.close()
        self._inside = {}

    def observe(self) -> dict[str, Spec]:
        """Everything with this node's mark."""
        host = self._host.netlink.links()
        found = self._sandboxes() | self._tenants.observe(host) | self._table.observe() | self._switch.observe(host)
        for switch, links in self._switch.there(host).items():
            found |= self._switch.links(switch).observe(links) | self._gateways.observe(switch, links)
        known = [one.element for one in found.values() if isinstance(one, RuleSpec) and one.set.startswith("floating")]
        found |= self._outer.observe(known) | self._borrowed.observe()
        for name in self._tenants.alive():
            inside = self._of(name)
            links = inside.place.netlink.links()
            found |= inside.table.observe() | inside.links.observe(links) | inside.overlay.observe(links)
            found |= inside.routes.observe(links, _gateways(found, name)) | inside.tc.observe(links)
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
            known.close()

    def apply(self, step: Step[Spec]) -> None:
        """Do one step, wholly or not at all."""
        spec = step.spec
        if step.verb is Verb.DELETE:
            self._delete(step.key, spec)
        elif isinstance(spec, SandboxSpec):
            _make_sandbox(Path(spec.path), spec.borrowed)
        elif isinstance(spec, TenantSpec):
            self._tenants.make(step.verb, spec)
        elif isinstance(spec, SwitchSpec):
            self._switch.make(step.verb, spec)
        elif isinstance(spec, TableSpec):
            self._tables(spec.tenant).create(spec)
        elif isinstance(spec, RuleSpec):
            self._tables(spec.tenant).set(step.verb, spec)
        elif isinstance(spec, FloatingSpec):
            self._outer.set(spec)
        elif isinstance(spec, QosSpec):
            self._of(spec.tenant).tc.apply(step.verb, step.key, spec)
        else:
            self._link(step, spec)

    def _link(self, step: Step[Spec], spec: LinkSpec) -> None:
        inside = self._of(spec.tenant)
        if isinstance(spec, BorrowedSpec):
            self._borrowed.set(step.key, spec)
        elif isinstance(spec, GatewaySpec):
            self._gateways.set(step.key, spec)
        elif isinstance(spec, BridgeSpec):
            inside.links.set_bridge(step.verb, step.key, spec)
        elif isinstance(spec, TunnelSpec):
            inside.overlay.set_tunnel(step.key, spec)
        elif isinstance(spec, RemoteSpec):
            inside.overlay.set_remote(spec)
        elif isinstance(spec, RouteSpec):
            inside.routes.set(spec)
        else:
            self._ports(spec).set_port(step.verb, step.key, spec)

    def _ports(self, spec: PortSpec) -> Links:
        return self._of(spec.tenant).links if spec.switch is None else self._switch.links(spec.switch)

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
        elif isinstance(spec, FloatingSpec):
            self._outer.delete(spec)
        elif isinstance(spec, SwitchSpec):
            self._switch.delete(spec)
        elif isinstance(spec, GatewaySpec):
            self._gateways.delete(spec)
        else:
            try:
                self._delete_within(key, spec)
            except NotFound:
                return  # gone with its tenant's namespace

    def _delete_within(
        self,
        key: str,
        spec: TableSpec | RuleSpec | BridgeSpec | TunnelSpec | RemoteSpec | RouteSpec | PortSpec | QosSpec,
    ) -> None:
        if isinstance(spec, TableSpec | RuleSpec):
            self._tables(spec.tenant).delete(spec)
        elif isinstance(spec, QosSpec):
            self._of(spec.tenant).tc.delete(key, spec)
        elif isinstance(spec, RemoteSpec):
            self._of(spec.tenant).overlay.delete_remote(spec)
        elif isinstance(spec, RouteSpec):
            self._of(spec.tenant).routes.delete(spec)
        elif isinstance(spec, TunnelSpec):
            self._of(spec.tenant).overlay.delete(spec.ifname)
        elif isinstance(spec, PortSpec):
            self._ports(spec).delete(spec.ifname)
        else:
            self._of(spec.tenant).links.delete(spec.ifname)

    def add_rules(self, rules: Sequence[RuleSpec]) -> None:
        """Add elements of one tenant's tables in one transaction."""
        if rules:
            self._tables(rules[0].tenant).add([(rule.set, rule.element, rule.value) for rule in rules])

    def prepare(self, key: str, spec: PortSpec) -> None:
        """Make a port's link without its addresses, marked as not complete: `apply` completes it, a plan removes it."""
        self._ports(spec).prepare(key, spec)

    def revise(self, tenant: str, stale: Callable[[Sequence[Connection]], Collection[Connection]]) -> int:
        """Cut those of a tenant's connections that are `stale`, and no others; returns how many."""
        return self._of(tenant).place.conntrack.revise(stale)

    def datapath(self) -> str:
        """Open vSwitch's datapath here: `system`, the kernel's, `netdev`, in user space, or "" without Open vSwitch."""
        try:
            programs.find()
        except Unavailable:
            return ""
        return "system" if programs.kernel_datapath() else "netdev"

    def at_switch(self, switch: str, act: Callable[[], None]) -> None:
        """Do something in the namespace at `switch`, "" the host's. NotFound."""
        self._switch.place(switch).inside(act)

    def join_switch(self, ifname: str, addresses: Sequence[Interface], gateways: Sequence[Address], mtu: int) -> None:
        """Give the way out of the switch's namespace addresses and default routes; can be done twice. NotFound: the
        switch has not made it."""
        self._switch.join(ifname, addresses, gateways, mtu)

    def uplink_mtu(self, address: Address | None = None) -> int:
        """The MTU of the link with this address, else of that with the IPv4 (else IPv6) default route; 1500 without
        one."""
        netlink = self._host.netlink
        index = self._index_of(address) or self._default_index()
        return next((link.mtu for link in netlink.links() if link.index == index), DEFAULT_MTU)

    def _index_of(self, address: Address | None) -> int | None:
        if address is None:
            return None
        found = self._host.netlink.addresses()
        return next((entry.index for entry in found if entry.address.ip == address), None)

    def _default_index(self) -> int | None:
        defaults = [
            route
            for route in self._host.netlink.routes()
            if route.subnet.prefixlen == 0 and route.index and not route.local and route.table == wire.MAIN_TABLE
        ]
        return min(defaults, key=lambda route: (route.version, route.metric)).index if defaults else None

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


def _gateways(found: Mapping[str, Spec], tenant: str) -> dict[str, str]:
    """A tenant's networks by the names of their gateways' links."""
    gateways = ((key, spec) for key, spec in found.items() if isinstance(spec, GatewaySpec))
    return {spec.inner: key.partition(":")[2] for key, spec in gateways if spec.tenant == tenant}


def _make_sandbox(path: Path, borrowed: str | None) -> None:
    if netns.alive(path):
        return
    netns.remove(path)
    if borrowed:
        netns.keep(Path(borrowed), path)
    else:
        netns.create_here(path, prepare_sandbox)
