"""The kernel as netd sees it: observe what carries this node's mark, apply one step, both blocking.

Everything runs on one thread of the node's own network namespace, which owns the netlink socket and the nftables
context: namespaces here, bridges and ports in `links`, rules in `table`.
"""

from pathlib import Path

from hawser.store.reconcile import Step, Verb

from ..compile import BridgeSpec, PortSpec, RuleSpec, SandboxSpec, Spec, TableSpec
from ..model import DEFAULT_MTU, Publish, Subnet
from . import netns, wire
from .links import Links
from .netlink import Netlink
from .probe import probe
from .table import Table
from .tune import prepare_sandbox


class World:
    """The links, namespaces and rules of one node; make and use it on one thread."""

    def __init__(self, instance: str, rundir: Path) -> None:
        self._directory = rundir / "netns"
        self._netlink = Netlink()
        self._links = Links(self._netlink, instance, self._directory)
        self._table = Table(instance)

    def close(self) -> None:
        """Let go; nothing is removed."""
        self._netlink.close()
        self._table.close()

    def observe(self) -> dict[str, Spec]:
        """Everything with this node's mark."""
        return self._sandboxes() | self._links.observe() | self._table.observe()

    def apply(self, step: Step[Spec]) -> None:
        """Do one step, wholly or not at all."""
        spec = step.spec
        if step.verb is Verb.DELETE:
            self._delete(spec)
        elif isinstance(spec, TableSpec):
            self._table.create(spec)
        elif isinstance(spec, SandboxSpec):
            _make_sandbox(Path(spec.path))
        elif isinstance(spec, BridgeSpec):
            self._links.set_bridge(step.verb, step.key, spec)
        elif isinstance(spec, PortSpec):
            self._links.set_port(step.verb, step.key, spec)
        else:
            self._table.set(step.verb, spec)

    def _delete(self, spec: Spec) -> None:
        if isinstance(spec, SandboxSpec):
            netns.remove(Path(spec.path))
        elif isinstance(spec, TableSpec | RuleSpec):
            self._table.delete(spec)
        else:
            self._links.delete(spec.ifname)

    def prepare(self, key: str, spec: PortSpec) -> None:
        """Make a port's link without its addresses, marked as not complete: `apply` completes it, a plan removes it."""
        self._links.prepare(key, spec)

    def uplink_mtu(self) -> int:
        """The MTU of the link with the IPv4 (else IPv6) default route; 1500 without one."""
        defaults = [
            route
            for route in self._netlink.routes()
            if route.subnet.prefixlen == 0 and route.index and not route.local and route.table == wire.MAIN_TABLE
        ]
        if defaults:
            best = min(defaults, key=lambda route: (route.version, route.metric))
            for link in self._netlink.links():
                if link.index == best.index:
                    return link.mtu
        return DEFAULT_MTU

    def used_subnets(self) -> list[Subnet]:
        """Subnets and addresses the host has routes to, defaults left out."""
        return [route.subnet for route in self._netlink.routes() if route.subnet.prefixlen]

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


def _make_sandbox(path: Path) -> None:
    if not netns.alive(path):
        netns.remove(path)
        netns.create_here(path, prepare_sandbox)
