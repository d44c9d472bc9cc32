"""The kernel as netd sees it: observe what carries this node's mark, apply one step, both blocking.

Everything runs on one thread of the node's own network namespace, which owns the netlink socket and the nftables
context. A link is marked by its alias in the very system call that makes it; a port that is not yet complete is marked
`new`, which no intent ever asks for, so that a kill in between is cleaned up and made anew.
"""

import os
import socket
from collections.abc import Iterable
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

from .. import rules
from ..compile import BridgeSpec, PortSpec, RuleSpec, SandboxSpec, Spec, TableSpec
from ..errors import Conflict
from ..model import Address, Interface, Port, Publish, Subnet
from . import netlink, netns
from .netlink import Netlink
from .nft import Nft

DEFAULT_MTU = 1500


class World:
    """The links, namespaces and rules of one node; make and use it on one thread."""

    def __init__(self, instance: str, rundir: Path) -> None:
        self.instance = instance
        self.directory = rundir / "netns"
        self._prefix = f"hawser:{instance}:"
        self._netlink = Netlink()
        self._nft = Nft()

    def close(self) -> None:
        self._netlink.close()
        self._nft.close()

    def observe(self) -> dict[str, Spec]:
        """Everything with this node's mark."""
        return self._sandboxes() | self._links() | self._rules()

    def uplink_mtu(self) -> int:
        """The MTU of the link with the IPv4 (else IPv6) default route; 1500 without one."""
        links = {link["index"]: link.get("IFLA_MTU") for link in self._netlink.links()}
        defaults = [route for route in self._netlink.routes() if route["dst_len"] == 0 and route.get("RTA_OIF")]
        for route in sorted(defaults, key=lambda route: (route["family"], route.get("RTA_PRIORITY") or 0)):
            if route["type"] == 1 and links.get(route.get("RTA_OIF")) and route["table"] in (0, 254):
                return int(links[route.get("RTA_OIF")])
        return DEFAULT_MTU

    def used_subnets(self) -> list[Subnet]:
        """Subnets the host has routes to, defaults left out."""
        found: list[Subnet] = []
        for route in self._netlink.routes():
            if route["dst_len"] and route.get("RTA_DST") and route["family"] in (socket.AF_INET, socket.AF_INET6):
                found.append(ip_network(f"{route.get('RTA_DST')}/{route['dst_len']}", strict=False))
        return found

    def make_sandbox(self, path: str) -> None:
        """A namespace, its loopback up, ports below 1024 and ping open to everybody inside."""
        if not netns.alive(Path(path)):
            netns.remove(Path(path))
            netns.create(Path(path), _prepare)

    def make_bridge(self, key: str, spec: BridgeSpec) -> None:
        """A bridge with its mark, then its addresses."""
        self._netlink.do(
            (
                netlink.new_bridge(spec.ifname, mtu=spec.mtu, mac=spec.mac),
                netlink.set_link(spec.ifname, alias=f"{self._prefix}{key}", mtu=spec.mtu),
            )
        )
        self.fix_bridge(spec, ())

    def fix_bridge(self, spec: BridgeSpec, extra: Iterable[Interface]) -> None:
        """Give a bridge what it lacks; `extra` are addresses to take away."""
        _open_forwarding()
        netns.sysctl(f"ipv4/conf/{spec.ifname}/route_localnet", "1")
        index = socket.if_nametoindex(spec.ifname)
        self._netlink.do([netlink.set_link(spec.ifname, mtu=spec.mtu)])
        self._netlink.do([netlink.delete_address(index, address) for address in extra], missing_ok=True)
        self._netlink.do([netlink.add_address(index, address) for address in spec.addresses])

    def make_port(self, key: str, spec: PortSpec, port: Port, gateways: tuple[Address, ...]) -> None:
        """A veth pair: one end on the bridge, the other in the sandbox with addresses and default routes."""
        bridge = socket.if_nametoindex(spec.bridge)
        target = os.open(port.netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._netlink.do(
                (
                    netlink.new_veth(
                        spec.ifname, port.ifname, peer_netns=target, mtu=spec.mtu, master=bridge, peer_mac=port.mac
                    ),
                    netlink.mark_port(spec.ifname, f"{self._prefix}new:{port.id}"),
                )
            )
        finally:
            os.close(target)
        netns.inside(Path(port.netns), lambda: _configure(port, gateways))
        self._netlink.do([netlink.set_link(spec.ifname, alias=f"{self._prefix}{key}")])

    def add_rules(self, elements: Iterable[rules.Element]) -> None:
        self._nft.run(rules.add(self.instance, elements))

    def remove_rules(self, elements: Iterable[rules.Element]) -> None:
        self._nft.run(rules.remove(self.instance, elements))

    def make_table(self) -> None:
        self._nft.run(rules.create(self.instance))

    def delete(self, key: str, spec: Spec) -> None:
        """Remove one marked thing."""
        if isinstance(spec, TableSpec):
            self._nft.run(rules.delete(self.instance))
        elif isinstance(spec, SandboxSpec):
            netns.remove(Path(spec.path))
        elif isinstance(spec, RuleSpec):
            self.remove_rules([(spec.set, spec.element, spec.value)])
        else:
            self._netlink.do([netlink.delete_link(spec.ifname)], missing_ok=True)

    def check_free(self, publish: Publish) -> None:
        """Conflict when a process of the host listens on the port."""
        kind = socket.SOCK_STREAM if publish.proto == "tcp" else socket.SOCK_DGRAM
        ipv6 = publish.host_ip is not None and publish.host_ip.version == 6
        with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, kind) as probe:
            try:
                probe.bind((str(publish.host_ip or ("::" if ipv6 else "0.0.0.0")), publish.host_port))
            except OSError as error:
                raise Conflict(
                    f"cannot publish {publish.host_port}/{publish.proto}: {error.strerror}; "
                    "a process of this host has it, choose another port"
                ) from error

    def _sandboxes(self) -> dict[str, Spec]:
        if not self.directory.is_dir():
            return {}
        return {
            f"sandbox:{path.name}": SandboxSpec(path=str(path) if netns.alive(path) else "")
            for path in self.directory.iterdir()
        }

    def _links(self) -> dict[str, Spec]:
        links = self._netlink.links()
        names = {link["index"]: link.get("IFLA_IFNAME") for link in links}
        mine = [link for link in links if (link.get("IFLA_IFALIAS") or "").startswith(self._prefix)]
        addresses: dict[int, list[Interface]] = {}
        if mine:
            for entry in self._netlink.addresses():
                text = f"{entry.get('IFA_LOCAL') or entry.get('IFA_ADDRESS')}/{entry['prefixlen']}"
                if entry["scope"] == 0:
                    addresses.setdefault(entry["index"], []).append(ip_interface(text))
        return {
            link.get("IFLA_IFALIAS").removeprefix(self._prefix): _link_spec(link, names, addresses) for link in mine
        }

    def _rules(self) -> dict[str, Spec]:
        objects = self._nft.table(rules.table(self.instance))
        if objects is None:
            return {}
        version, elements = rules.observed(objects)
        found: dict[str, Spec] = {"table:": TableSpec(version=version)}
        for name, element, value in elements:
            found[f"rule:{name}:{element}"] = RuleSpec(set=name, element=element, value=value)
        return found


def _link_spec(link: Any, names: dict[int, str], addresses: dict[int, list[Interface]]) -> Spec:
    ifname, mtu = str(link.get("IFLA_IFNAME")), int(link.get("IFLA_MTU"))
    if link.get("IFLA_LINKINFO").get("IFLA_INFO_KIND") == "bridge":
        own = tuple(sorted(addresses.get(link["index"], ()), key=lambda a: a.version))
        return BridgeSpec(ifname=ifname, mtu=mtu, mac=link.get("IFLA_ADDRESS"), addresses=own)
    return PortSpec(ifname=ifname, bridge=names.get(link.get("IFLA_MASTER") or 0, ""), mtu=mtu)


def _prepare() -> None:
    netns.lo_up()
    netns.sysctl("ipv4/ip_unprivileged_port_start", "0")
    netns.sysctl("ipv4/ping_group_range", "0 2147483647")


def _configure(port: Port, gateways: tuple[Address, ...]) -> None:
    index = socket.if_nametoindex(port.ifname)
    with Netlink() as inner:
        requests = [netlink.set_link(port.ifname)]
        requests += [netlink.add_address(index, address) for address in port.addresses]
        if port.ifname == "eth0":
            requests += [netlink.add_default(index, gateway) for gateway in gateways]
        inner.do(requests)


def _open_forwarding() -> None:
    """Let the host route; where IPv6 forwarding was off, keep its own router advertisements working
    (accept_ra 2, kernel ip-sysctl)."""
    netns.sysctl("ipv4/ip_forward", "1")
    conf = Path("/proc/sys/net/ipv6/conf")
    if not conf.is_dir():
        return
    if (conf / "all/forwarding").read_text().strip() == "0":
        for accept in conf.glob("*/accept_ra"):
            if accept.read_text().strip() == "1":
                accept.write_text("2")
        (conf / "all/forwarding").write_text("1")
