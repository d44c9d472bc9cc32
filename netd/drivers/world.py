"""The kernel as netd sees it: observe what carries this node's mark, apply one step, both blocking.

Everything runs on one thread of the node's own network namespace, which owns the netlink socket and the nftables
context. A link is marked by its alias in the very system call that makes it; a port that is not yet complete is marked
`new`, which no intent ever asks for, so that a kill in between is cleaned up and made anew.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from hawser.store.reconcile import Step, Verb

from .. import rules
from ..compile import BridgeSpec, PortSpec, RuleSpec, SandboxSpec, Spec, TableSpec
from ..errors import Conflict, Denied, Invalid, NetError, NotFound
from ..model import DEFAULT_MTU, Publish, Subnet
from . import netlink, netns, wire
from .conntrack import Conntrack
from .inside import Inside, adjust, by_link, configure, look
from .netlink import Netlink
from .nft import Nft
from .tune import harden_bridge, open_forwarding, prepare_sandbox


class World:
    """The links, namespaces and rules of one node; make and use it on one thread."""

    def __init__(self, instance: str, rundir: Path) -> None:
        self._instance = instance
        self._directory = rundir / "netns"
        self._prefix = f"hawser:{instance}:"
        self._netlink = Netlink()
        self._nft = Nft()
        self._conntrack = Conntrack()

    def close(self) -> None:
        """Let go; nothing is removed."""
        self._netlink.close()
        self._nft.close()
        self._conntrack.close()

    def observe(self) -> dict[str, Spec]:
        """Everything with this node's mark."""
        return self._sandboxes() | self._links() | self._rules()

    def apply(self, step: Step[Spec]) -> None:
        """Do one step, wholly or not at all."""
        if step.verb is Verb.DELETE:
            self._delete(step.spec)
        elif isinstance(step.spec, TableSpec):
            self._nft.run(rules.create(self._instance, step.spec.elements))
        elif isinstance(step.spec, SandboxSpec):
            _make_sandbox(Path(step.spec.path))
        elif isinstance(step.spec, BridgeSpec):
            self._set_bridge(step.verb, step.key, step.spec)
        elif isinstance(step.spec, PortSpec):
            self._set_port(step.verb, step.key, step.spec)
        else:
            self._set_rule(step.verb, step.spec)

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
            _probe(host, publish)

    # -- namespaces

    def _sandboxes(self) -> dict[str, Spec]:
        if not self._directory.is_dir():
            return {}
        return {
            f"sandbox:{path.name}": SandboxSpec(path=str(path), alive=netns.alive(path))
            for path in self._directory.iterdir()
        }

    # -- links

    def _links(self) -> dict[str, Spec]:
        links = self._netlink.links()
        mine = [link for link in links if link.alias.startswith(self._prefix)]
        if not mine:
            return {}
        names = {link.index: link.name for link in links}
        addresses = by_link(self._netlink.addresses())
        found: dict[str, Spec] = {}
        for link in mine:
            key = link.alias.removeprefix(self._prefix)
            if link.kind == "bridge":
                found[key] = BridgeSpec(
                    ifname=link.name, mtu=link.mtu, mac=link.mac, addresses=addresses.get(link.index, ()), up=link.up
                )
            else:
                found[key] = self._observe_port(key, link, names.get(link.master, ""))
        return found

    def _observe_port(self, key: str, link: wire.Link, bridge: str) -> PortSpec:
        _, _, port = key.rpartition("port:")
        sandbox, _, inner = port.partition(":")
        path = self._directory / (sandbox or ".")
        state: Inside | None = None
        if key.startswith("port:") and netns.alive(path):
            with contextlib.suppress(NetError):
                state = netns.inside_here(path, lambda: look(inner, link.index))
        return PortSpec(
            ifname=link.name,
            bridge=bridge,
            mtu=link.mtu if state is None or state[0].mtu == link.mtu else 0,
            mac=state[0].mac if state else "",
            addresses=state[1] if state else (),
            routes=state[2] if state else (),
            up=link.up and state is not None and state[0].up,
            inner=inner,
            netns=str(path),
            network="",
        )

    def _set_bridge(self, verb: Verb, key: str, spec: BridgeSpec) -> None:
        if verb is Verb.UPDATE and self._own(spec.ifname) is None:
            self._remove_marked(key)
            verb = Verb.CREATE
        if verb is Verb.CREATE:
            index = netlink.index_of(spec.ifname)
            self._netlink.do(
                (
                    netlink.new_bridge(spec.ifname, mtu=_another(spec.mtu), mac=spec.mac, index=index, up=False),
                    netlink.mark_link(index, f"{self._prefix}{key}", mtu=spec.mtu),
                )
            )
        try:
            self._fix_bridge(spec)
        except BaseException:
            if verb is Verb.CREATE:
                self._delete(spec)
            raise

    def _fix_bridge(self, spec: BridgeSpec) -> None:
        open_forwarding()
        harden_bridge(spec.ifname)
        index = _index(spec.ifname)
        have = by_link(self._netlink.addresses()).get(index, ())
        extra = [address for address in have if address not in spec.addresses]
        self._netlink.do([netlink.set_link(spec.ifname, mtu=spec.mtu, mac=spec.mac)])
        self._netlink.do([netlink.delete_address(index, address) for address in extra], missing_ok=True)
        self._netlink.do([netlink.add_address(index, address) for address in spec.addresses])

    def _set_port(self, verb: Verb, key: str, spec: PortSpec) -> None:
        """A veth pair; of one that is there, only what differs is changed, or traffic would stop."""
        if verb is Verb.UPDATE:
            if self._own(spec.ifname) and self._fix_port(spec):
                return
            self._remove_marked(key)
        link = self._own(spec.ifname) if verb is Verb.CREATE else None
        if link is None or link.alias != f"{self._prefix}new:{key}":
            self.prepare(key, spec)
        try:
            netns.inside_here(Path(spec.netns), lambda: configure(spec))
            self._netlink.do([netlink.mark_link(netlink.index_of(spec.ifname), f"{self._prefix}{key}")])
        except BaseException:
            self._delete(spec)
            raise

    def prepare(self, key: str, spec: PortSpec) -> None:
        """Make a port's link without its addresses, marked as not complete: `apply` completes it, a plan removes it."""
        index = netlink.index_of(spec.ifname)
        bridge = _index(spec.bridge)
        with _opened(spec.netns) as target:
            self._netlink.do(
                (
                    netlink.new_veth(
                        spec.ifname,
                        spec.inner,
                        peer_netns=target,
                        mtu=spec.mtu,
                        master=bridge,
                        peer_mac=spec.mac,
                        index=index,
                        up=False,
                    ),
                    netlink.mark_port(index, f"{self._prefix}new:{key}"),
                    netlink.up(index),
                )
            )

    def _fix_port(self, spec: PortSpec) -> bool:
        index = _index(spec.ifname)
        self._netlink.do([netlink.set_link(spec.ifname, mtu=spec.mtu, master=_index(spec.bridge))])
        return netns.inside_here(Path(spec.netns), lambda: adjust(spec, index))

    def _own(self, ifname: str) -> wire.Link | None:
        link = self._netlink.link(ifname)
        return link if link and link.alias.startswith(self._prefix) else None

    def _remove_marked(self, key: str) -> None:
        """Remove a link by its mark, whatever its name now."""
        for link in self._netlink.links():
            if link.alias == f"{self._prefix}{key}":
                self._netlink.do([netlink.delete_link(index=link.index)], missing_ok=True)

    # -- rules

    def _rules(self) -> dict[str, Spec]:
        objects = self._nft.table(rules.table(self._instance))
        if objects is None:
            return {}
        version, elements = rules.observed(objects)
        found: dict[str, Spec] = {"table:": TableSpec(version=version)}
        for name, element, value in elements:
            found[f"rule:{name}:{element}"] = RuleSpec(set=name, element=element, value=value)
        return found

    def _set_rule(self, verb: Verb, spec: RuleSpec) -> None:
        element = (spec.set, spec.element, spec.value)
        commands = rules.add(self._instance, [element])
        if verb is Verb.UPDATE:
            commands = rules.remove(self._instance, [element]) + commands
        self._nft.run(commands)
        self._forget(spec)

    def _forget(self, spec: RuleSpec) -> None:
        if (port := rules.published_udp(spec.set, spec.element)) is not None:
            self._conntrack.forget_udp(port)

    def _delete(self, spec: Spec) -> None:
        if isinstance(spec, TableSpec):
            self._delete_rules(rules.delete(self._instance))
        elif isinstance(spec, SandboxSpec):
            netns.remove(Path(spec.path))
        elif isinstance(spec, RuleSpec):
            self._delete_rules(rules.remove(self._instance, [(spec.set, spec.element, spec.value)]))
            self._forget(spec)
        elif link := self._own(spec.ifname):
            self._netlink.do([netlink.delete_link(index=link.index)], missing_ok=True)

    def _delete_rules(self, commands: str) -> None:
        with contextlib.suppress(NotFound):
            self._nft.run(commands)


def _another(mtu: int) -> int:
    """An MTU to change from: only one that was changed by hand stays when ports come (br_mtu_auto_adjust)."""
    return mtu - 1 if mtu > 1280 else mtu + 1


def _index(ifname: str) -> int:
    try:
        return socket.if_nametoindex(ifname)
    except OSError as error:
        raise NotFound(f"link {ifname}: {error.strerror}") from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"network namespace {path}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make_sandbox(path: Path) -> None:
    if not netns.alive(path):
        netns.remove(path)
        netns.create_here(path, prepare_sandbox)


def _probe(host: str, publish: Publish) -> None:
    kind = socket.SOCK_STREAM if publish.proto == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        if ":" in host:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if publish.proto == "tcp":  # what only waits out TIME_WAIT has no listener
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, publish.host_port))
        except OSError as error:
            raise _not_free(publish, error) from error


def _not_free(publish: Publish, error: OSError) -> NetError:
    text = f"cannot publish {publish}: {error.strerror}"
    if error.errno == errno.EADDRNOTAVAIL:
        return Invalid(f"{text}: {publish.host_ip} is no address of this host")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Denied(f"{text}; run as root")
    return Conflict(f"{text}; a process of this host has the port, choose another")
