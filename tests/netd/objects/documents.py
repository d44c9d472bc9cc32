"""Documents: good ones, bad ones that a schema refuses too, and bad ones that only the parser can know."""

from typing import Any

NETWORK = {"kind": "network", "tenant": "blue", "name": "web"}
ROUTER = {"kind": "router", "tenant": "blue", "name": "core", "networks": ["web", "db"]}
POLICY = {"kind": "policy", "tenant": "blue", "name": "p", "applies": {"networks": ["web"]}, "directions": ["ingress"]}
PORT = {"kind": "port", "tenant": "blue", "name": "db-1", "network": "web"}
FLOATING = {"kind": "floating", "tenant": "blue", "address": "192.0.2.7", "target": "10.0.0.5", "network": "web"}


def rule(**plain: Any) -> dict[str, Any]:
    return {**POLICY, "rules": [plain]}


def ingress(*peers: Any, **plain: Any) -> dict[str, Any]:
    return rule(**{"direction": "ingress", "from": list(peers), **plain})


GOOD: list[dict[str, Any]] = [
    {"kind": "tenant", "name": "blue"},
    {"kind": "tenant", "name": "blue", "default": "deny"},
    {"kind": "network", "name": "web"},
    {**NETWORK, "subnets": ["10.0.0.0/24", "fd00::/64"], "gateways": ["10.0.0.9"], "mtu": 1400, "vni": 7},
    {**NETWORK, "plane": "ovs", "internal": True, "multicast": True, "encrypted": True, "default": "deny"},
    {**NETWORK, "mtu": None, "default": None},
    ROUTER,
    {**ROUTER, "networks": ["web"], "routes": [{"subnet": "0.0.0.0/0", "via": "10.0.0.9"}]},
    {**ROUTER, "routes": [{"subnet": "172.16.0.0/12", "via": "10.0.0.9"}, {"subnet": "fd01::/64", "via": "fd00::9"}]},
    POLICY,
    {**POLICY, "applies": {}},
    {**POLICY, "applies": {"labels": {"app": "x"}}, "directions": ["ingress", "egress"], "rules": []},
    ingress({"network": "web"}, {"labels": {"app": "x"}}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}),
    ingress({"networks": ["web", "db"], "labels": {}}, proto="tcp", ports=[80, "443", "8000-8100"]),
    ingress({"cidr": "10.0.0.1"}, proto="icmp", icmp_types=[8, 0]),
    ingress({"labels": {}}, proto="icmpv6"),
    rule(**{"from": [{"network": "web"}]}),
    {**rule(to=[{"cidr": "::/0"}], proto="udp", ports=[53]), "directions": ["egress"]},
    {"kind": "policy", "name": "p", "applies": {}, "rules": [{"direction": "egress"}]},
    PORT,
    {**PORT, "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.5", "fd00::5/64"], "labels": {"app": "db"}},
    {**PORT, "qos": {"ingress": "10mbit", "egress": 1000000, "dscp": 46}},
    {**PORT, "qos": {"ingress": "1Gbit", "egress": "8000bit"}, "addresses": []},
    FLOATING,
    {**FLOATING, "address": "2001:db8::1", "target": "fd00::5"},
]

# the problem that the parser names
BAD: list[tuple[Any, str]] = [
    (5, "it 5: give a mapping"),
    ({}, "kind: is missing; give tenant, network"),
    ({"kind": "vlan", "name": "x"}, "kind 'vlan': give tenant, network"),
    ({"kind": ["tenant"], "name": "x"}, "kind ['tenant']: give"),
    ({"kind": "tenant"}, "name: is missing"),
    ({"kind": "tenant", "name": "Blue"}, "name 'Blue': use 1-63"),
    ({"kind": "tenant", "name": "a" * 64}, "use 1-63"),
    ({"kind": "tenant", "name": False}, "name False: use 1-63"),
    ({"kind": "tenant", "name": "b", "default": "maybe"}, "default 'maybe': give allow or deny"),
    ({"kind": "tenant", "name": "b", "tenant": "b"}, "tenant: unknown field; known: name, default"),
    ({**NETWORK, "colour": 1}, "colour: unknown field"),
    ({**NETWORK, "subnets": "10.0.0.0/24"}, "subnets '10.0.0.0/24': give a list"),
    ({**NETWORK, "subnets": ["web"]}, "subnets[0] 'web': give a subnet"),
    ({**NETWORK, "subnets": ["10.0.0.0/24", "10.0.0.0/24"]}, "subnets[1] '10.0.0.0/24': is there twice"),
    ({**NETWORK, "gateways": [7]}, "gateways[0] 7: give an address"),
    ({**NETWORK, "plane": "vlan"}, "plane 'vlan': give bridge or ovs"),
    ({**NETWORK, "mtu": True}, "mtu True: give a number from 576"),
    ({**NETWORK, "mtu": "1500"}, "mtu '1500'"),
    ({**NETWORK, "vni": 1 << 24}, "vni 16777216: give a number from 0 to 16777215"),
    ({**NETWORK, "internal": "no"}, "internal 'no': give true or false"),
    ({**ROUTER, "networks": []}, "networks []: give at least 1"),
    ({**ROUTER, "networks": ["green/web"]}, "networks[0] 'green/web': networks are of the object's own tenant"),
    ({**ROUTER, "networks": ["web", "web"]}, "networks[1] 'web': is there twice"),
    ({**ROUTER, "routes": [{"subnet": "10.0.0.0/8"}]}, "routes[0].via: is missing"),
    ({**ROUTER, "routes": [{"subnet": "10.0.0.0/8", "via": "x"}]}, "routes[0].via 'x'"),
    ({**ROUTER, "routes": {}}, "routes {}: give a list"),
    ({"kind": "policy", "name": "p", "directions": ["ingress"]}, "applies: is missing"),
    ({"kind": "policy", "name": "p", "applies": {}}, "directions: is missing"),
    ({"kind": "policy", "name": "p", "applies": {}, "rules": []}, "directions: is missing"),
    ({**POLICY, "directions": []}, "directions []: give at least 1"),
    ({**POLICY, "directions": ["in"]}, "directions[0] 'in': give ingress or egress"),
    ({**POLICY, "applies": {"networks": []}}, "applies.networks []: an empty list names nobody"),
    ({**POLICY, "applies": {"labels": {"app": 2}}}, "applies.labels {'app': 2}: label 'app'=2: give plain text"),
    ({**POLICY, "applies": {"network": "web"}}, "applies.network: unknown field; known: networks, labels"),
    (rule(), "rules[0].direction: is missing"),
    (ingress(), "rules[0].from []: an empty list names nobody"),
    (ingress({}), "rules[0].from[0].network: is missing; give network, labels or cidr"),
    (ingress({"network": "green/web"}), "rules[0].from[0].network 'green/web': networks are of"),
    (ingress({"network": "web", "networks": ["db"]}), "rules[0].from[0].networks: not beside network"),
    (ingress({"network": "web", "cidr": "10.0.0.0/8"}), "rules[0].from[0].network: not beside cidr"),
    (ingress({"except": ["10.0.0.0/8"]}), "rules[0].from[0].except: goes with cidr"),
    (ingress({"cidr": "10.0.0.0/8", "except": []}), "rules[0].from[0].except []: an empty list"),
    (rule(direction="ingress", to=[{"network": "web"}]), "rules[0].to: a rule of ingress has from"),
    (rule(**{"from": [{"network": "web"}], "to": [{"network": "web"}]}), "rules[0].to: a rule of ingress has from"),
    (rule(direction="ingress", proto="ipip"), "rules[0].proto 'ipip': give tcp, udp, sctp, icmp or icmpv6"),
    (rule(direction="ingress", ports=[80]), "rules[0].ports: proto None has none; give proto tcp, udp or sctp"),
    (rule(direction="ingress", proto="icmp", ports=[80]), "rules[0].ports: proto icmp has none"),
    (rule(direction="ingress", proto="tcp", icmp_types=[8]), "rules[0].icmp_types: proto tcp has none"),
    (rule(direction="ingress", proto="tcp", ports=[]), "rules[0].ports []: an empty list"),
    (rule(direction="ingress", proto="tcp", ports=[0]), "rules[0].ports[0] 0: give a number from 1 to 65535"),
    (rule(direction="ingress", proto="tcp", ports=[True]), "rules[0].ports[0] True"),
    (rule(direction="ingress", proto="tcp", ports=["http"]), "rules[0].ports[0] 'http': give a port, or a range"),
    (rule(direction="ingress", proto="icmp", icmp_types=[256]), "rules[0].icmp_types[0] 256"),
    ({"kind": "port", "name": "x"}, "network: is missing"),
    ({**PORT, "mac": "02-00-00-00-00-01"}, "mac '02-00-00-00-00-01': give six octets"),
    ({**PORT, "addresses": ["10.0.0.5%eth0"]}, "addresses[0] '10.0.0.5%eth0': give an address"),
    ({**PORT, "qos": {"ingress": 10.5}}, "qos.ingress 10.5: give a number from 8000"),
    ({**PORT, "qos": {"ingress": "10mbps"}}, "qos.ingress '10mbps': give bit/s as a number"),
    ({**PORT, "qos": {"ingress": 7999}}, "qos.ingress 7999"),
    ({**PORT, "qos": {"dscp": 64}}, "qos.dscp 64: give a number from 0 to 63"),
    ({**PORT, "labels": ["app"]}, "labels ['app']: labels ['app']: give names with texts"),
    ({"kind": "floating", "address": "192.0.2.7"}, "target: is missing"),
    ({**FLOATING, "name": "x"}, "name: unknown field"),
]

PARSER_ONLY: list[tuple[dict[str, Any], str]] = [
    ({**NETWORK, "subnets": ["10.0.0.1/24"]}, "subnets[0] '10.0.0.1/24': 10.0.0.1/24 has host bits set"),
    ({**NETWORK, "subnets": ["10.0.0.0/33"]}, "subnets[0] '10.0.0.0/33'"),
    ({**NETWORK, "subnets": ["10.0.0.0/24", "10.0.1.0/24"]}, "are both IPv4"),
    ({**NETWORK, "subnets": ["10.0.0.0/24"], "gateways": ["10.1.0.1"]}, "in none of the subnets"),
    ({**NETWORK, "subnets": ["10.0.0.0/24"], "gateways": ["1:2"]}, "gateways[0] '1:2'"),
    (
        {**ROUTER, "routes": [{"subnet": "10.0.0.0/8", "via": "fd00::1"}]},
        "routes[0].via fd00::1: is not of the version",
    ),
    (
        {**ROUTER, "routes": [{"subnet": "224.0.0.0/4", "via": "10.0.0.1"}]},
        "routes[0].subnet 224.0.0.0/4: has a meaning",
    ),
    (
        {**ROUTER, "routes": [{"subnet": "172.16.0.0/12", "via": via} for via in ("10.0.0.2", "10.0.0.3")]},
        "routes[1].subnet 172.16.0.0/12: has a route already",
    ),
    ({**rule(direction="egress")}, "rules[0].direction egress: is not among directions"),
    (ingress({"cidr": "10.0.0.1/8"}), "rules[0].from[0].cidr '10.0.0.1/8'"),
    (ingress({"cidr": "::ffff:10.0.0.0/104"}), "these are IPv4 addresses"),
    (
        ingress({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}),
        "from[0].except[0] 11.0.0.0/16: is not within 10.0.0.0/8",
    ),
    (ingress({"cidr": "10.0.0.0/8", "except": ["fd00::/64"]}), "from[0].except[0] fd00::/64: is not within"),
    (rule(direction="ingress", proto="tcp", ports=["9-8"]), "rules[0].ports[0] '9-8': give ports from 1 to 65535"),
    (rule(direction="ingress", proto="tcp", ports=["70000"]), "rules[0].ports[0] '70000'"),
    (rule(direction="ingress", proto="tcp", ports=[80, "80"]), "rules[0].ports[1] '80': is there twice"),
    ({**PORT, "mac": "01:00:00:00:00:01"}, "mac '01:00:00:00:00:01': one interface has it"),
    ({**PORT, "addresses": ["10.0.0.5", "10.0.0.6"]}, "addresses 10.0.0.5, 10.0.0.6: give at most one of each"),
    ({**PORT, "addresses": ["10.0.0.5/24", "10.0.0.5"]}, "give at most one of each"),
    ({**PORT, "labels": {"a": "x\n"}}, "give plain text"),
    ({**PORT, "qos": {"ingress": "1bit"}}, "qos.ingress '1bit': give 8000 to"),
    ({**PORT, "qos": {"ingress": "9999999999999999999gbit"}}, "give 8000 to"),
    ({**FLOATING, "address": "127.0.0.1"}, "address '127.0.0.1': it has a meaning of its own"),
    ({**FLOATING, "address": "0.0.0.0"}, "a meaning of its own"),
    ({**FLOATING, "target": "fd00::5"}, "target fd00::5: is not of the version of IP that 192.0.2.7 is"),
]
