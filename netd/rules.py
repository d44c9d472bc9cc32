"""The node's nftables table: fixed chains over sets and maps; networks and ports are only elements.

So an attachment costs one element update, whatever the number of containers (nft(8), maps). What the chains say:
published ports are translated when they arrive and when the host itself uses them; a translated connection from a
container or from 127.0.0.1 is masqueraded, so that the answer comes back the same way (hairpin; ::1 is left alone: the
kernel routes nothing from it, and a client that is refused there tries 127.0.0.1); networks reach the
outside masqueraded, unless internal, and what conntrack cannot place is not let out with its private address
(moby#44015); nothing passes between two networks, or in from outside, that was not published; a container reaches only
the gateway of its own network, and never the host's 127.0.0.0/8, nor speaks in its name (CVE-2020-8558);
gateways answer only their networks and the host. `within` lets bridged frames pass where br_netfilter shows them to the
forward hook.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import NetError
from .model import Network, Port

CHAINS = """
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map one4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map one6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  set bridges { type ifname; }
  set internal { type ifname; }
  set within { type ifname . ifname; }
  set subnets4 { type ipv4_addr; flags interval; }
  set subnets6 { type ipv6_addr; flags interval; }
  chain translate {
    ip6 daddr ::1 return
    dnat ip to ip daddr . meta l4proto . th dport map @one4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @one6
    dnat ip to meta l4proto . th dport map @any4
    dnat ip6 to meta l4proto . th dport map @any6
  }
  chain raw { type filter hook prerouting priority raw; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 drop
    iifname @bridges ip saddr 127.0.0.0/8 drop
  }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump translate
  }
  chain output { type nat hook output priority -100; policy accept;
    fib daddr type local jump translate
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges ct status dnat ip saddr 127.0.0.0/8 masquerade
    oifname @bridges ct status dnat ip saddr @subnets4 masquerade
    oifname @bridges ct status dnat ip6 saddr @subnets6 masquerade
    oifname @bridges accept
    ip saddr @subnets4 masquerade
    ip6 saddr @subnets6 masquerade
  }
  chain forward { type filter hook forward priority filter; policy accept;
    iifname != @bridges oifname != @bridges accept
    ct state established,related accept
    iifname . oifname @within accept
    ct state invalid drop
    iifname @internal drop
    oifname @internal drop
    ct status dnat accept
    oifname @bridges drop
  }
  chain input { type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname @bridges fib daddr . iif type != { local, multicast, broadcast } drop
    iifname != @bridges iifname != "lo" ip daddr @subnets4 drop
    iifname != @bridges iifname != "lo" ip6 daddr @subnets6 drop
  }
"""
VERSION = hashlib.sha256(CHAINS.encode()).hexdigest()[:12]
PROTOCOLS = {"6": "tcp", "17": "udp"}
PUBLISHED = ("any4", "any6", "one4", "one6")
Element = tuple[str, str, str | None]
WORD = re.compile(r"[0-9A-Za-z_.:/-]+( \. [0-9A-Za-z_.:/-]+)*")


def table(instance: str) -> str:
    """The table's name, which is its ownership mark."""
    return f"hawser_{instance}"


def create(instance: str, elements: Iterable[Element] = ()) -> str:
    """Commands that make the table anew with these elements, whatever was there: one transaction, no moment without."""
    name = table(instance)
    return (
        f"table inet {name}\ndelete table inet {name}\n"
        f"table inet {name} {{{CHAINS}  chain version_{VERSION} {{ }}\n}}\n"
    ) + add(instance, elements)


def delete(instance: str) -> str:
    """Commands that remove the table."""
    return f"delete table inet {table(instance)}\n"


def add(instance: str, elements: Iterable[Element]) -> str:
    """Commands that add elements. NetError when one is made of more than names, numbers and addresses."""
    return "".join(
        f"add element inet {table(instance)} {name} {{ {element}{f' : {value}' if value else ''} }}\n"
        for name, element, value in map(_plain, elements)
    )


def remove(instance: str, elements: Iterable[Element]) -> str:
    """Commands that delete elements. NetError as in `add`."""
    return "".join(
        f"delete element inet {table(instance)} {name} {{ {element} }}\n" for name, element, _ in map(_plain, elements)
    )


def _plain(element: Element) -> Element:
    """The last guard before a text becomes commands to the kernel; what is asked for was parsed long before."""
    for text in element:
        if text is not None and not WORD.fullmatch(text):
            raise NetError(f"nftables element {element!r} holds more than names, numbers and addresses; not done")
    return element


def of_network(network: Network, bridge: str) -> Iterator[Element]:
    """The elements of a network."""
    yield "bridges", bridge, None
    yield "within", f"{bridge} . {bridge}", None
    if network.internal:
        yield "internal", bridge, None
    for subnet in network.subnets:
        yield f"subnets{subnet.version}", str(subnet), None


def of_port(port: Port) -> Iterator[Element]:
    """The elements of a port: what it publishes, on each of its addresses."""
    for publish in port.publish:
        for address in port.addresses:
            if publish.host_ip is None:
                key, name = f"{publish.proto} . {publish.host_port}", f"any{address.version}"
            elif publish.host_ip.version == address.version:
                key, name = f"{publish.host_ip} . {publish.proto} . {publish.host_port}", f"one{address.version}"
            else:
                continue
            yield name, key, f"{address.ip} . {publish.port}"


def observed(objects: Iterable[dict[str, Any]]) -> tuple[str, list[Element]]:
    """Version and elements of a table, from libnftables-json(5)."""
    version, elements = "", list[Element]()
    for entry in objects:
        if "chain" in entry and entry["chain"]["name"].startswith("version_"):
            version = entry["chain"]["name"].removeprefix("version_")
        for kind in ("set", "map"):
            for element in entry.get(kind, {}).get("elem", ()):
                elements.append(_element(entry[kind]["name"], element))
    return version, elements


def published_udp(name: str, element: str) -> int | None:
    """The host port of an element that publishes UDP, or None."""
    parts = element.split(" . ")
    return int(parts[-1]) if name in PUBLISHED and parts[-2] == "udp" else None


def _element(name: str, element: Any) -> Element:
    key, value = (element[0], _text(element[1])) if isinstance(element, list) else (element, None)
    text = _text(key)
    if name in PUBLISHED:
        # listed by number: whether nft knows a protocol's name depends on the machine's /etc/protocols
        *host, proto, port = text.split(" . ")
        text = " . ".join((*host, PROTOCOLS.get(proto, proto), port))
    return name, text, value


def _text(value: Any) -> str:
    if isinstance(value, dict) and "concat" in value:
        return " . ".join(_text(part) for part in value["concat"])
    if isinstance(value, dict) and "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    if isinstance(value, dict) and "range" in value:
        return "-".join(_text(end) for end in value["range"])
    if isinstance(value, dict) and "elem" in value:
        return _text(value["elem"]["val"])
    return str(value)
