"""Whether a new connection may pass, and who says so: the policies' meaning, with which every data plane must agree.

First there must be a way: both ends on one network or on two that a router joins; an address that no port of the
tenant has is outside, where internal networks have no way to, unless a static route has one. Then the source's port
must be allowed to send (egress) and the target's to receive (ingress). A port is isolated in a direction when its
network denies by default or a policy selects it in that direction; isolated, it passes what a rule of a policy that
selects it allows, policies asked by name, rules in their order. A gateway is no port: sending to it is egress like any
other.

Addresses tell ports apart, so what reaches ports under an address that is nobody's (link-local, multicast, broadcast)
passes only where nothing is filtered: otherwise any isolated port could be spoken to by its link-local address. ARP and
neighbour discovery are nobody's to forbid here.
"""

from dataclasses import dataclass, replace

from ..fabric import Fabric
from ..model import Address, Default, Direction, Network, Port
from . import match
from .match import Packet

__all__ = ["Check", "Oracle", "Packet", "Verdict", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One port's answer in one direction.

    `selected` names the policies that select it, `default` is its network's; `policy` and `rule` (its index) decided,
    None: the default did.
    """

    direction: Direction
    port: Port
    selected: tuple[str, ...]
    default: Default
    allowed: bool
    reason: str
    policy: str | None = None
    rule: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a packet passes. `reason` is one line.

    `direction`, `policy` and `rule` are of the check that decided: the one that denies, or the last that a rule
    allowed; all None: the default, or no way. A denial by a policy's lack of a rule names the policy and no rule.
    `routed`: from one network to another, or outside. `checks` holds every port that was asked.
    """

    allowed: bool
    reason: str
    policy: str | None = None
    rule: int | None = None
    direction: Direction | None = None
    routed: bool = False
    checks: tuple[Check, ...] = ()


def decide(fabric: Fabric, tenant: str, packet: Packet) -> Verdict:
    """Whether a new connection of a tenant may pass; for many, keep an `Oracle`."""
    return Oracle(fabric, tenant).decide(packet)


class Oracle:
    """The decisions of one tenant, as the fabric was when it was made."""

    def __init__(self, fabric: Fabric, tenant: str) -> None:
        self.tenant = tenant
        self.owners = match.owners(fabric, tenant)
        self.policies = match.of_tenant(fabric, tenant)
        self._networks = {network.key: network for network in fabric.of_tenant(tenant)}
        self._joined = {key: fabric.joined(key) for key in self._networks}
        self._routers = [router for router in fabric.routers.values() if router.tenant == tenant and router.routes]
        self._defaults = {key: fabric.default(network) for key, network in self._networks.items()}
        self._filtered = {key for key, network in self._networks.items() if fabric.filtered(network)}

    def decide(self, packet: Packet) -> Verdict:
        """Whether a packet may pass."""
        source, target = self.owners.get(packet.source), self.owners.get(packet.target)
        no_way = self._no_way(packet, source, target)
        if no_way is not None:
            return Verdict(allowed=False, reason=no_way)
        scattered = self._scattered(packet)
        routed = not scattered and self._place(packet.source, source) != self._place(packet.target, target)
        if not routed and match.discovery(packet):
            return Verdict(allowed=True, reason="neighbour discovery is not policy's business")
        if scattered:
            return self._scatter(packet, source or target)
        checks = []
        if source is not None:
            checks.append(self._check(Direction.EGRESS, packet, source, packet.target, target))
        if target is not None:
            checks.append(self._check(Direction.INGRESS, packet, target, packet.source, source))
        return _verdict(tuple(checks), routed)

    def network_of(self, address: Address) -> Network | None:
        """The network whose subnet an address is in."""
        found = (n for n in self._networks.values() if any(address in subnet for subnet in n.subnets))
        return next(found, None)

    def concerns(self, address: Address) -> bool:
        """Whether an address is one that a port has or might have had: of a subnet, and no gateway's."""
        network = self.network_of(address)
        return address in self.owners or (network is not None and address not in network.gateways)

    def _place(self, address: Address, port: Port | None) -> str | None:
        """The key of the network an address is on; None is outside."""
        if port is not None:
            return port.on
        network = self.network_of(address)
        return network.key if network is not None else None

    def _scattered(self, packet: Packet) -> bool:
        networks = self._networks.values()
        return match.scattered(packet.target, networks) or match.scattered(packet.source, networks)

    def _no_way(self, packet: Packet, source: Port | None, target: Port | None) -> str | None:
        """Why a packet cannot get from one end to the other, or None."""
        if packet.source.version != packet.target.version:
            return f"{packet.source} and {packet.target} are of different versions of IP"
        if source is None and target is None:
            return f"neither {packet.source} nor {packet.target} is a port's of tenant {self.tenant}"
        port = source or target
        assert port is not None
        if self._scattered(packet):
            return None
        far = self._place(packet.target, target) if source is not None else self._place(packet.source, source)
        if far is None and self._networks[port.on].internal and not self._routed(packet, port, source is not None):
            return f"network {port.network} is internal: it has no way out and none in"
        if far is not None and far not in self._joined[port.on]:
            return f"no router joins networks {port.network} and {self._networks[far].name}"
        return None

    def _routed(self, packet: Packet, port: Port, sends: bool) -> bool:
        """Whether a static route leads from the network of a port that `sends` to the other side, or from what is
        behind its next hop to the port's network."""
        far = packet.target if sends else packet.source
        for router in self._routers:
            routes = [route for route in router.routes if far in route.subnet]
            if sends and routes and self._networks[port.on].name in router.networks:
                return True
            hops = [self.network_of(route.via) for route in routes]
            if not sends and any(hop is not None and hop.key in self._joined[port.on] for hop in hops):
                return True
        return False

    def _scatter(self, packet: Packet, port: Port | None) -> Verdict:
        """What becomes of a packet that may reach ports it does not name."""
        assert port is not None
        if port.on not in self._filtered:
            return Verdict(allowed=True, reason=f"default: nothing is filtered on network {port.network}")
        # whichever of the two is nobody's
        direction = Direction.INGRESS if packet.source in self.owners else Direction.EGRESS
        nobody = packet.target if direction is Direction.INGRESS else packet.source
        reason = f"{direction}: {nobody} is no single port's, and on network {port.network} policies ask whose it is"
        return Verdict(allowed=False, reason=reason, direction=direction)

    def _check(
        self, direction: Direction, packet: Packet, port: Port, other: Address, other_port: Port | None
    ) -> Check:
        policies = tuple(match.selecting(self.policies, port, direction))
        default = self._defaults[port.on]
        answer = Check(
            direction=direction,
            port=port,
            selected=tuple(policy.name for policy in policies),
            default=default,
            allowed=True,
            reason=f"{direction} of {port.id}: default, for no policy selects it and network {port.network} allows",
        )
        if not policies and default is Default.ALLOW:
            return answer
        for policy in policies:
            for index, rule in match.rules(policy, direction):
                if match.allows(rule, packet, other, other_port):
                    reason = f"{direction} of {port.id}: policy {policy.name} rule {index}"
                    return replace(answer, policy=policy.name, rule=index, reason=reason)
        if not policies:
            reason = f"{direction} of {port.id}: default, for network {port.network} denies and no policy selects it"
            return replace(answer, allowed=False, reason=reason)
        names = ", ".join(answer.selected)
        reason = f"{direction} of {port.id}: selected by policy {names}, no rule of which allows it"
        return replace(answer, allowed=False, policy=policies[0].name, reason=reason)


def _verdict(checks: tuple[Check, ...], routed: bool) -> Verdict:
    denied = next((check for check in checks if not check.allowed), None)
    by_rule = [check for check in checks if check.rule is not None]
    decisive = denied or (by_rule[-1] if by_rule else None)
    return Verdict(
        allowed=denied is None,
        reason=denied.reason if denied else "; ".join(check.reason for check in checks),
        policy=decisive.policy if decisive else None,
        rule=decisive.rule if decisive else None,
        direction=decisive.direction if decisive else None,
        routed=routed,
        checks=checks,
    )
