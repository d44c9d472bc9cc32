"""What a tenant's nftables tables say, in the tenant's own namespace.

Routed packets pass between networks that a router joins, and between a network and the way out; both then pass the
tenant's policy, as do the frames of a filtered bridge, which br_netfilter shows to the same hook. What answers is let
through by conntrack; between machines a connection may go one way here and the other way there, so within the tenant
nothing is dropped for being out of place. What arrives from the host is led to the container that published it. Nothing
reaches the namespace itself but DNS and echo requests at the gateways.

Frames are checked where they come in: a port speaks with its own MAC and addresses only, in Ethernet, ARP, IPv4, IPv6
and neighbour discovery, answers no DHCP and advertises no router (RFC 6105, RFC 7610). What is refused is counted by
port in a set that the packets fill themselves, and forgotten a day after the last; dropped it is by a rule of its own,
also when the set is full.

To which groups a port listens
is of use to multicast routers only (RFC 3810 §1), and without one a bridge sends it to every port: so such reports pass
while a router has been heard to ask (every 125 s, RFC 3810 §9.2), whose first question they all answer.
"""

from collections.abc import Iterable, Iterator

from .fabric import Fabric
from .host_rules import inner_port
from .model import Network, Port, link_local
from .policy import nft as policy
from .rules import PARTED, Element

UPLINK = "uplink"
CHAINS = """
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map in4 { type ipv4_addr : ipv4_addr; }
  map in6 { type ipv6_addr : ipv6_addr; }
  map out4 { type ipv4_addr : ipv4_addr; }
  map out6 { type ipv6_addr : ipv6_addr; }
  set bridges { type ifname; }
  set internal { type ifname; }
  set joined { type ifname . ifname; }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    iifname "uplink" dnat ip to ip daddr map @in4
    iifname "uplink" dnat ip6 to ip6 daddr map @in6
    iifname "uplink" dnat ip to meta l4proto . th dport map @any4
    iifname "uplink" dnat ip6 to meta l4proto . th dport map @any6
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    oifname != "uplink" accept
    snat ip to ip saddr map @out4
    snat ip6 to ip6 saddr map @out6
    masquerade
  }
  chain mangle { type filter hook forward priority mangle; policy accept;
    tcp flags syn tcp option maxseg size set rt mtu
  }
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "uplink" ct status dnat goto policies
    iifname "uplink" drop
    oifname "uplink" iifname @internal drop
    oifname "uplink" ct state invalid drop
    oifname "uplink" goto policies
    iifname . oifname @joined goto policies
  }
  chain input { type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname @bridges fib daddr . iif type != { local, multicast, broadcast } drop
    iifname @bridges meta l4proto { icmp, ipv6-icmp } accept
    iifname @bridges udp dport 53 accept
    iifname @bridges tcp dport 53 accept
  }
"""
FRAMES = """
  set frame_ports { type ifname; }
  set frame_macs { type ifname . ether_addr; }
  set frame_ip4 { type ifname . ipv4_addr; }
  set frame_ip6 { type ifname . ipv6_addr; }
  set frame_nd6 { typeof meta iifname . @th,64,128; }
  set frame_refused { type ifname; flags dynamic,timeout; timeout 1d; }
  chain refused {
    update @frame_refused { iifname counter }
    drop
  }
  set frame_queriers { type ether_type; flags dynamic,timeout; timeout 5m; }
  chain from_port {
    iifname . ether saddr != @frame_macs goto refused
    ether type ip jump from_ip4
    ether type ip6 jump from_ip6
    ether type arp jump from_arp
    ether type { ip, ip6, arp } accept
    goto refused
  }
  chain from_ip4 {
    udp sport 67 goto refused
    iifname . ip saddr @frame_ip4 accept
    ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
    goto refused
  }
  chain from_ip6 {
    udp sport 547 goto refused
    icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ether type != @frame_queriers drop
    icmpv6 type { nd-router-advert, nd-redirect } goto refused
    icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @frame_nd6 goto refused
    iifname . ip6 saddr @frame_ip6 accept
    ip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld-listener-report, mld2-listener-report } accept
    goto refused
  }
  chain from_arp {
    iifname . arp saddr ether != @frame_macs goto refused
    iifname . arp saddr ip @frame_ip4 accept
    arp saddr ip 0.0.0.0 accept
    goto refused
  }
  chain prerouting { type filter hook prerouting priority -300; policy accept;
    icmpv6 type mld-listener-query update @frame_queriers { ether type }
    iifname @frame_ports jump from_port
  }
"""


def chains(fabric: Fabric, tenant: str) -> str:
    """The text of a tenant's tables, which follows from its policies, not from its ports."""
    return f"{CHAINS}{policy.chains(fabric, tenant)}{PARTED}{FRAMES}"


def of_network(network: Network, bridge: str, joined: Iterable[str]) -> Iterator[Element]:
    """The elements of a network: `joined` are the bridges it is joined to, its own among them."""
    yield "bridges", bridge, None
    for other in joined:
        yield "joined", f"{bridge} . {other}", None
    if network.internal:
        yield "internal", bridge, None


def of_any_port(fabric: Fabric, port: Port) -> Iterator[Element]:
    """The elements of a port, wherever it is: what policies say of it."""
    yield from policy.elements(fabric, port)


def of_port(port: Port, ifname: str) -> Iterator[Element]:
    """The elements of a port of this machine: what it may send."""
    yield "frame_ports", ifname, None
    yield "frame_macs", f"{ifname} . {port.mac}", None
    local = link_local(port.mac)
    for address in port.addresses:
        yield f"frame_ip{address.version}", f"{ifname} . {address.ip}", None
        if address.version == 6:
            yield "frame_nd6", f"{ifname} . {int(address.ip):#034x}", None
    yield "frame_ip6", f"{ifname} . {local}", None
    yield "frame_nd6", f"{ifname} . {int(local):#034x}", None


def of_published(port: Port) -> Iterator[Element]:
    """Where what the host led here goes on to."""
    for publish in port.publish:
        for address in port.addresses:
            if publish.host_ip is None or publish.host_ip.version == address.version:
                key = f"{publish.proto} . {inner_port(publish)}"
                yield f"any{address.version}", key, f"{address.ip} . {publish.port}"
