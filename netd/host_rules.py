"""What the host's nftables table says: how tenants meet the outside, and that they meet nothing else.

Published ports are translated when they arrive and when the host itself uses them, to the tenant's end of its transit
link, where the tenant's own table goes on. What comes from 127.0.0.1 or from a tenant is masqueraded on its way into a
tenant, so that the answer comes back the same way (hairpin; ::1 is left alone: the kernel routes nothing from it, and a
client that is refused there tries 127.0.0.1). Tenants reach the outside masqueraded, and what conntrack cannot place is
not let out with its private address (moby#44015). Nothing passes from one tenant to another, or in from outside, that
was not published, and nothing of a tenant's reaches the host itself, its 127.0.0.0/8 or speaks in its name
(CVE-2020-8558). A switch in user space is behind a transit link, too; its tunnels come from the machine's endpoint, or
from the encrypted overlay's address there.

Addresses of the encrypted overlay, and the UDP port of the tunnels in it, are met on WireGuard's interfaces only, which
are our own: a packet for there that finds no such interface (its process has ended) leaves by no other, whatever the
routes say; nothing comes in that only pretends to have been encrypted; no tenant speaks to a machine's inner address.
Nor does one speak to the ports of tunnels, wherever: translated, that would come from a machine, and a frame that it
made up would be in another tenant's network.

Packets between the kernel's own tunnels are not tracked: what is in them is, in the tenant's namespace.
"""

from collections.abc import Iterable, Iterator

from .model import INNER, SEALED_PORT, TUNNEL_PORTS, Address, Port, Publish
from .rules import Element
from .transit import POOL4, POOL6, Transit

TUNNELS = ", ".join(map(str, TUNNEL_PORTS))
CHAINS = f"""
  map any4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map any6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  map one4 {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  map one6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
  map switch4 {{ type ifname : ipv4_addr; }}
  map switch6 {{ type ifname : ipv6_addr; }}
  set overlays {{ type ifname; }}
  set switches {{ type ifname; }}
  set uplinks {{ type ifname; }}
  set tunnels {{ type inet_service; }}
  set floating4 {{ type ipv4_addr; }}
  set floating6 {{ type ipv6_addr; }}
  chain translate {{
    ip6 daddr ::1 return
    dnat ip to ip daddr . meta l4proto . th dport map @one4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @one6
    dnat ip to meta l4proto . th dport map @any4
    dnat ip6 to meta l4proto . th dport map @any6
  }}
  chain raw {{ type filter hook prerouting priority raw; policy accept;
    iifname != @uplinks udp dport @tunnels fib daddr type local notrack accept
    iifname @uplinks ip daddr 127.0.0.0/8 drop
    iifname @uplinks iifname != @switches udp dport {{ {TUNNELS} }} drop
    iifname @uplinks ip saddr @floating4 accept
    iifname @uplinks ip6 saddr @floating6 accept
    iifname @uplinks ip saddr != {POOL4} drop
    iifname @uplinks ip6 saddr != {{ {POOL6}, fe80::/10, ff00::/8, :: }} drop
    iifname != "lo" iifname != @overlays ip6 saddr {INNER} drop
    iifname != "lo" iifname != @overlays iifname != @switches ip6 daddr {INNER} drop
    iifname != "lo" iifname != @overlays meta nfproto ipv6 udp dport {SEALED_PORT} drop
  }}
  chain raw_output {{ type filter hook output priority raw; policy accept;
    udp dport @tunnels notrack
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump translate
  }}
  chain output {{ type nat hook output priority -100; policy accept;
    fib daddr type local jump translate
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat; policy accept;
    oifname @uplinks ct status dnat ip saddr 127.0.0.0/8 masquerade
    oifname @uplinks ip saddr {POOL4} masquerade
    oifname @uplinks ip6 saddr {POOL6} masquerade
    oifname @uplinks accept
    oifname != @overlays snat ip to iifname map @switch4
    oifname != @overlays snat ip6 to iifname map @switch6
    ip saddr {POOL4} masquerade
    ip6 saddr {POOL6} masquerade
  }}
  chain sealed {{ type filter hook postrouting priority filter; policy accept;
    oifname "lo" accept
    oifname @overlays accept
    ip6 daddr {INNER} drop
    meta nfproto ipv6 udp dport {SEALED_PORT} drop
  }}
  chain forward {{ type filter hook forward priority filter; policy accept;
    iifname != @uplinks oifname != @uplinks accept
    ct state established,related accept
    ct state invalid drop
    ct status dnat accept
    oifname @uplinks ip daddr @floating4 accept
    oifname @uplinks ip6 daddr @floating6 accept
    oifname @uplinks drop
  }}
  chain from_uplinks {{
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    drop
  }}
  chain input {{ type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname @uplinks goto from_uplinks
    iifname != "lo" ip daddr {POOL4} drop
    iifname != "lo" ip6 daddr {POOL6} drop
  }}
"""
VXLAN = "4789"
PUBLISHED = ("any4", "any6", "one4", "one6")
OWN_FIRST, OWN_ROOM = 49152, 16384


def of_tenant(uplink: str) -> Iterator[Element]:
    """The elements of a tenant."""
    yield "uplinks", uplink, None


def of_overlays(interfaces: Iterable[str]) -> Iterator[Element]:
    """The elements of the encrypted overlay: WireGuard's interfaces, whether or not they are there."""
    for ifname in interfaces:
        yield "overlays", ifname, None


def of_tunnels() -> Iterator[Element]:
    """The elements of a machine that has tunnels (RFC 7348's port)."""
    yield "tunnels", VXLAN, None


def of_switch(uplink: str, transit: Transit, endpoint: Address | None, ports: Iterable[int]) -> Iterator[Element]:
    """The elements of a switch behind a transit link: it takes the tunnels to these UDP ports, and speaks for
    `endpoint`."""
    yield "uplinks", uplink, None
    yield "switches", uplink, None
    if endpoint is not None:
        yield f"switch{endpoint.version}", uplink, str(endpoint)
        for port in ports:
            yield "any4", f"udp . {port}", f"{transit.tenant4.ip} . {port}"
            yield "any6", f"udp . {port}", f"{transit.tenant6.ip} . {port}"


def inner_port(publish: Publish) -> int:
    """The port by which a published port crosses the transit link.

    The host's own number, unless it is published on one address only: then another port of the tenant may have the
    number on another address, and a number made of both is taken instead, of the range for dynamic ports (RFC 6335).
    """
    if publish.host_ip is None:
        return publish.host_port
    return OWN_FIRST + (int(publish.host_ip) * 31 + publish.host_port) % OWN_ROOM


def of_port(port: Port, transit: Transit) -> Iterator[Element]:
    """The elements of a port: what it publishes, on each of its addresses' versions."""
    for publish in port.publish:
        for version in sorted({address.version for address in port.addresses}):
            target = transit.tenant4.ip if version == 4 else transit.tenant6.ip
            if publish.host_ip is None:
                key, name = f"{publish.proto} . {publish.host_port}", f"any{version}"
            elif publish.host_ip.version == version:
                key, name = f"{publish.host_ip} . {publish.proto} . {publish.host_port}", f"one{version}"
            else:
                continue
            yield name, key, f"{target} . {inner_port(publish)}"


def published_udp(name: str, element: str) -> int | None:
    """The host port of an element that publishes UDP, or None."""
    parts = element.split(" . ")
    return int(parts[-1]) if name in PUBLISHED and parts[-2] == "udp" else None
