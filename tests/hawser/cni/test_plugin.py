"""The plugin against a node in memory, as the specification has it (containernetworking/cni, SPEC.md 1.1.0)."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hawser.cni import verbs
from hawser.netd.drivers import netns

from .conftest import Make, inside
from .fake import FakeNode
from .plugin import Answer, Plugin, finish

pytestmark = pytest.mark.root

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
SANDBOX = verbs.sandbox_of("c1")
VERBS = ["ADD", "DEL", "CHECK", "STATUS", "GC"]
ONE = {"CONTAINERID": "c1", "NETNS": "/nowhere", "IFNAME": "eth0"}
KEEP = "cni.dev/valid-attachments"
CHAINED = {
    "cniVersion": "1.1.0",
    "interfaces": [{"name": "lo", "sandbox": "/x"}, {"name": "br0", "mac": "02:00:00:00:01:00"}],
    "ips": [{"address": "192.168.0.2/24", "gateway": "192.168.0.1", "interface": 1}],
    "routes": [{"dst": "192.168.0.0/16", "gw": "192.168.0.1"}],
    "dns": {"nameservers": ["192.168.0.1"]},
}


# VERSION


@pytest.mark.parametrize("version", VERSIONS)
def test_version_answers_in_the_version_it_is_asked_in(plugin: Plugin, version: str) -> None:
    answer = plugin.call("VERSION", {"cniVersion": version})
    assert answer.result == {"cniVersion": version, "supportedVersions": VERSIONS}


@pytest.mark.parametrize("text", [b"", b"\n", b"{}", b'{"cniVersion": "2.0.0"}', b'{"cniVersion": 1}'])
def test_version_answers_whoever_asks(plugin: Plugin, text: bytes) -> None:
    assert plugin.call("VERSION", text).result["cniVersion"] == "1.1.0"


# Errors: the code, and the words the specification asks for


@pytest.mark.parametrize("verb", [None, "", "add", "REMOVE"])
def test_an_unknown_verb_is_an_invalid_variable(plugin: Plugin, verb: str | None) -> None:
    code, message = plugin.call(verb, plugin.config()).error
    assert code == 4
    assert "CNI_COMMAND" in message


@pytest.mark.parametrize("verb", [*VERBS, "VERSION"])
@pytest.mark.parametrize("text", [b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"name": NaN'])
def test_what_is_no_configuration_is_not_decoded(plugin: Plugin, verb: str, text: bytes) -> None:
    assert plugin.call(verb, text, **ONE).error[0] == 6


def test_an_empty_standard_input_is_no_configuration(plugin: Plugin) -> None:
    assert plugin.call("ADD", b"", **ONE).error[0] == 6


@pytest.mark.parametrize("version", [..., "0.2.0", "9.9.9", "", 1, None, ["1.0.0"]])
def test_an_unknown_version_is_incompatible(plugin: Plugin, version: Any) -> None:
    answer = plugin.call("ADD", plugin.config(cniVersion=version), **ONE)
    assert answer.error[0] == 1
    assert answer.document is not None
    assert answer.document["cniVersion"] == "1.1.0"


@pytest.mark.parametrize(
    ("verb", "version", "since"),
    [
        ("CHECK", "0.3.1", "0.4.0"),
        *(("GC", version, "1.1.0") for version in VERSIONS[:-1]),
        *(("STATUS", version, "1.1.0") for version in VERSIONS[:-1]),
    ],
)
def test_a_verb_of_a_later_version_is_incompatible(plugin: Plugin, verb: str, version: str, since: str) -> None:
    code, message = plugin.call(verb, plugin.config(cniVersion=version), **ONE).error
    assert code == 1
    assert since in message


@pytest.mark.parametrize("verb", ["ADD", "CHECK"])
def test_every_missing_variable_is_named(plugin: Plugin, verb: str) -> None:
    code, message = plugin.call(verb, plugin.config()).error
    assert code == 4
    assert all(name in message for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"))


def test_del_needs_container_and_interface_only(plugin: Plugin) -> None:
    code, message = plugin.call("DEL", plugin.config()).error
    assert code == 4
    assert "CNI_CONTAINERID" in message
    assert "CNI_IFNAME" in message
    assert "CNI_NETNS" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("CONTAINERID", value) for value in ("-c", "a/b", "a b", ".", "ü")),
        *(("IFNAME", value) for value in ("a" * 16, ".", "..", "a/b", "a:b", "a b", "a\tb")),
        ("NETNS", "relative"),
    ],
)
def test_a_malformed_variable_is_named(plugin: Plugin, name: str, value: str) -> None:
    code, message = plugin.call("ADD", plugin.config(), **{**ONE, name: value}).error
    assert code == 4
    assert f"CNI_{name}" in message


@pytest.mark.parametrize(("key", "value"), [("tenat", "blue"), ("bridge", "cni0"), ("ipam", {"type": "host-local"})])
def test_an_unsupported_field_is_named_with_its_value(plugin: Plugin, key: str, value: Any) -> None:
    code, message = plugin.call("ADD", plugin.config(**{key: value}), **ONE).error
    assert code == 2
    assert key in message
    assert repr(value) in message


@pytest.mark.parametrize(
    "more",
    [
        {"name": ...},
        {"name": "a/b"},
        {"tenant": "Blue"},
        {"tenant": 5},
        {"network": "a_b"},
        {"network": ..., "name": "a_b"},
        {"labels": ["app"]},
        {"labels": {"app": 5}},
        {"socket": 5},
        {"args": []},
        {"runtimeConfig": {"ips": "10.0.0.5"}},
        {"runtimeConfig": {"ipRanges": []}},
        {"runtimeConfig": {"portMappings": [{"hostPort": 8080}]}},
        {"runtimeConfig": {"portMappings": [{"hostPort": 80.5, "containerPort": 80}]}},
        {"runtimeConfig": {"portMappings": {"hostPort": 80, "containerPort": 80}}},
        {"runtimeConfig": {"bandwidth": {"ingressRate": -1}}},
        {"runtimeConfig": {"bandwidth": {"ingressRate": True}}},
        {"prevResult": []},
        {"prevResult": {"ips": [{"interface": 0}]}},
        {"prevResult": {"interfaces": {}}},
    ],
)
def test_an_invalid_configuration_makes_nothing(
    fake: FakeNode, plugin: Plugin, container: Path, more: dict[str, Any]
) -> None:
    assert plugin.one("ADD", container, **more).error[0] == 7
    assert fake.asked == []


def test_every_problem_of_a_configuration_is_told(plugin: Plugin) -> None:
    _, message = plugin.call("ADD", plugin.config(tenant="Blue", network="x_y", labels=5), **ONE).error
    assert all(name in message for name in ("tenant", "network", "labels"))


def test_malformed_arguments_are_an_invalid_variable(plugin: Plugin) -> None:
    code, message = plugin.call("ADD", plugin.config(), ARGS="A=1;B", **ONE).error
    assert code == 4
    assert "CNI_ARGS" in message


# ADD


@pytest.mark.parametrize("version", VERSIONS)
def test_add_answers_as_the_version_has_it(plugin: Plugin, container: Path, version: str) -> None:
    old = version in ("0.3.1", "0.4.0")
    interface = {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": str(container)}
    four = {"address": "10.0.0.2/24", "interface": 0, "gateway": "10.0.0.1"}
    six = {"address": "fd00::2/64", "interface": 0, "gateway": "fd00::1"}
    assert plugin.one("ADD", container, cniVersion=version).result == {
        "cniVersion": version,
        "interfaces": [interface | ({"mtu": 1450} if version == "1.1.0" else {})],
        "ips": [four | ({"version": "4"} if old else {}), six | ({"version": "6"} if old else {})],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "::/0", "gw": "fd00::1"}],
        "dns": {
            "nameservers": ["10.0.0.1", "fd00::1"],
            "domain": "blue.mesh.internal",
            "search": ["blue.mesh.internal", "mesh.internal"],
        },
    }


def test_add_asks_the_node_for_what_the_configuration_says(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container, labels={"app": "web"}).code == 0
    assert fake.asked == [
        {
            "sandbox": SANDBOX,
            "owner": "cni",
            "netns": str(container),
            "ifname": "eth0",
            "tenant": "blue",
            "network": "web",
            "addresses": [],
            "publish": [],
            "labels": {"app": "web"},
            "mac": None,
            "qos": {},
            "context": {"network": "blue-web", "container": "c1"},
        }
    ]


def test_tenant_and_network_have_defaults(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container, tenant=..., network=..., name="plain").code == 0
    assert (fake.asked[0]["tenant"], fake.asked[0]["network"]) == ("default", "plain")


def test_capabilities_become_wishes(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    runtime = {
        "ips": ["10.0.0.77/24", "fd00::77"],
        "mac": "02:AA:00:00:00:01",
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
            {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "127.0.0.1"},
            {"hostPort": 8443, "containerPort": 443, "hostIP": "fd00::9"},
            {"hostPort": 81, "containerPort": 81, "hostIP": "0.0.0.0"},
            {"hostPort": 0, "containerPort": 9},
        ],
        "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 1, "egressRate": 0, "egressBurst": 0},
    }
    capabilities = dict.fromkeys(runtime, True)
    assert plugin.one("ADD", container, runtimeConfig=runtime, capabilities=capabilities).code == 0
    asked = fake.asked[0]
    assert (asked["addresses"], asked["mac"]) == (["10.0.0.77", "fd00::77"], "02:aa:00:00:00:01")
    assert asked["qos"] == {"ingress": 8_000_000}
    assert asked["publish"] == [
        "8080:80/tcp",
        "127.0.0.1:53:5353/udp",
        "[fd00::9]:8443:443/tcp",
        "81:81/tcp",
    ]


@pytest.mark.parametrize("key", ["ips", "addresses"])
def test_args_become_wishes(fake: FakeNode, plugin: Plugin, container: Path, key: str) -> None:
    labels = [{"key": "app", "value": "theirs"}, {"key": "zone", "value": "a"}]
    args = {"cni": {key: ["10.0.0.78"], "mac": "02:00:00:00:00:78", "labels": labels}, "other": {"x": 1}}
    assert plugin.one("ADD", container, args=args, labels={"app": "ours"}).code == 0
    asked = fake.asked[0]
    assert (asked["addresses"], asked["mac"]) == (["10.0.0.78"], "02:00:00:00:00:78")
    assert asked["labels"] == {"app": "ours", "zone": "a"}


def test_a_capability_holds_against_args(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    both = {"runtimeConfig": {"ips": ["10.0.0.5"]}, "args": {"cni": {"ips": ["10.0.0.6"]}}}
    variables = {**ONE, "NETNS": str(container), "ARGS": "IP=10.0.0.7"}
    assert plugin.call("ADD", plugin.config(**both), **variables).code == 0
    assert fake.asked[0]["addresses"] == ["10.0.0.5"]


def test_a_pod_is_labelled_with_its_names(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    pod = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u;"
    variables = {**ONE, "NETNS": str(container), "ARGS": f"{pod}IP=10.0.0.7;MAC=02:00:00:00:00:07"}
    assert plugin.call("ADD", plugin.config(), **variables).code == 0
    asked = fake.asked[0]
    assert (asked["addresses"], asked["mac"]) == (["10.0.0.7"], "02:00:00:00:00:07")
    assert asked["labels"] == {
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.name": "web-1",
        "io.kubernetes.pod.uid": "u",
    }


def test_only_the_first_interface_has_default_routes(plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container, "net1").result["routes"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chained_add_goes_on_from_the_plugin_before(plugin: Plugin, container: Path, version: str) -> None:
    made = plugin.one("ADD", container, cniVersion=version, prevResult=CHAINED).result
    old = {"version": "4"} if version in ("0.3.1", "0.4.0") else {}
    assert [one["name"] for one in made["interfaces"]] == ["lo", "br0", "eth0"]
    assert made["ips"][0] == CHAINED["ips"][0] | old  # type: ignore[index]
    assert {one["interface"] for one in made["ips"][1:]} == {2}
    assert [route["dst"] for route in made["routes"]] == ["192.168.0.0/16", "0.0.0.0/0", "::/0"]
    assert made["dns"]["nameservers"] == ["192.168.0.1"]
    assert made["dns"]["domain"] == "blue.mesh.internal"


def test_the_versions_of_addresses_go_where_there_are_none(plugin: Plugin, container: Path) -> None:
    before = {"ips": [{"version": "4", "address": "192.168.0.2/24"}]}
    assert plugin.one("ADD", container, prevResult=before).result["ips"][0] == {"address": "192.168.0.2/24"}


def test_configured_names_hold(plugin: Plugin, container: Path) -> None:
    dns = {"nameservers": ["9.9.9.9"], "options": ["ndots:5"]}
    runtime = {"dns": {"searches": ["shop.svc.cluster.local"]}}
    assert plugin.one("ADD", container, dns=dns, runtimeConfig=runtime).result["dns"] == {
        "nameservers": ["9.9.9.9"],
        "domain": "blue.mesh.internal",
        "search": ["shop.svc.cluster.local"],
        "options": ["ndots:5"],
    }


def test_a_second_add_of_an_interface_is_refused_and_harms_nothing(
    fake: FakeNode, plugin: Plugin, container: Path
) -> None:
    assert plugin.one("ADD", container).code == 0
    code, message = plugin.one("ADD", container).error
    assert code == 100
    assert "eth0" in message
    assert fake.names() == {("blue-web", "eth0")}


def test_a_container_has_several_interfaces(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    assert plugin.one("ADD", container, "net1", name="blue-db", network="db").code == 0
    assert set(fake.attachments) == {(SANDBOX, "eth0"), (SANDBOX, "net1")}


@pytest.mark.parametrize(
    ("more", "code"), [({"network": "nowhere"}, 7), ({"network": "full"}, 11), ({"tenant": "green"}, 7)]
)
def test_the_node_s_refusal_has_its_code(plugin: Plugin, container: Path, more: dict[str, Any], code: int) -> None:
    found, message = plugin.one("ADD", container, **more).error
    assert found == code
    assert "network" in message


def test_a_namespace_that_is_gone_is_an_unknown_container(fake: FakeNode, plugin: Plugin, rundir: Path) -> None:
    code, message = plugin.one("ADD", rundir / "gone").error
    assert (code, fake.asked) == (3, [])
    assert "CNI_NETNS" in message


@pytest.mark.parametrize("path", ["/proc/self/ns/net", "/proc/self/ns/uts", "/dev/null", "/etc/passwd", "/"])
def test_what_is_no_container_s_network_namespace_is_refused(fake: FakeNode, plugin: Plugin, path: str) -> None:
    code, message = plugin.one("ADD", path).error
    assert (code, fake.asked) == (4, [])
    assert "CNI_NETNS" in message


# DEL


def test_del_removes_and_says_nothing(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    assert plugin.one("DEL", container).nothing
    assert fake.attachments == {}


def test_del_may_be_repeated(plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    assert [plugin.one("DEL", container).nothing for _ in range(3)] == [True] * 3


def test_del_of_what_never_was_succeeds(plugin: Plugin, container: Path) -> None:
    assert plugin.one("DEL", container).nothing


@pytest.mark.parametrize("path", [None, "", "/nowhere"])
def test_del_needs_no_namespace(fake: FakeNode, plugin: Plugin, container: Path, path: str | None) -> None:
    assert plugin.one("ADD", container).code == 0
    netns.remove(container)
    assert plugin.one("DEL", path).nothing
    assert fake.attachments == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_del_takes_add_s_result(fake: FakeNode, plugin: Plugin, container: Path, version: str) -> None:
    made = plugin.one("ADD", container, cniVersion=version).result
    assert plugin.one("DEL", container, cniVersion=version, prevResult=made).nothing
    assert fake.attachments == {}


@pytest.mark.parametrize(
    "more",
    [{"tenant": "Blue"}, {"network": "gone"}, {"ipam": {"type": "x"}}, {"prevResult": []}, {"args": 5}, {"tenat": 1}],
)
def test_del_reads_only_what_it_needs(fake: FakeNode, plugin: Plugin, container: Path, more: dict[str, Any]) -> None:
    assert plugin.one("ADD", container).code == 0
    assert plugin.one("DEL", container, **more).nothing
    assert fake.attachments == {}


def test_del_leaves_other_interfaces_containers_and_networks(fake: FakeNode, plugin: Plugin, namespaces: Make) -> None:
    first, second = namespaces(), namespaces()
    assert plugin.one("ADD", first).code == 0
    assert plugin.one("ADD", first, "net1").code == 0
    assert plugin.one("ADD", second, id="c2").code == 0
    assert plugin.one("DEL", first, name="other").nothing
    assert plugin.one("DEL", first, "net1").nothing
    assert set(fake.attachments) == {(SANDBOX, "eth0"), (verbs.sandbox_of("c2"), "eth0")}


# CHECK


def dress(path: Path, answer: Answer) -> None:
    """Give a namespace what an ADD said that it has."""
    made = answer.result
    inside(path, "ip", "link", "add", "eth0", "address", made["interfaces"][-1]["mac"], "type", "veth", "peer", "p0")
    for one in made["ips"]:
        inside(path, "ip", "address", "add", one["address"], "dev", "eth0", *nodad(one["address"]))
    inside(path, "ip", "link", "set", "eth0", "up")
    inside(path, "ip", "link", "set", "p0", "up")
    for route in made["routes"]:
        family = "-6" if ":" in route["gw"] else "-4"
        inside(path, "ip", family, "route", "add", "default", "via", route["gw"], "dev", "eth0")


def nodad(address: str) -> list[str]:
    return ["nodad"] if ":" in address else []


@pytest.fixture
def dressed(plugin: Plugin, container: Path) -> dict[str, Any]:
    """The result of an ADD that came true."""
    answer = plugin.one("ADD", container)
    dress(container, answer)
    return answer.result


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_check_finds_what_add_made(plugin: Plugin, container: Path, version: str) -> None:
    answer = plugin.one("ADD", container, cniVersion=version)
    dress(container, answer)
    assert plugin.one("CHECK", container, cniVersion=version, prevResult=answer.result).nothing


def test_check_needs_a_previous_result(plugin: Plugin, container: Path, dressed: dict[str, Any]) -> None:
    code, message = plugin.one("CHECK", container).error
    assert code == 7
    assert "prevResult" in message
    assert plugin.one("CHECK", container, prevResult=CHAINED).error[0] == 7


def test_check_allows_what_later_plugins_added(plugin: Plugin, container: Path, dressed: dict[str, Any]) -> None:
    inside(container, "ip", "address", "add", "172.31.0.1/24", "dev", "eth0")
    inside(container, "ip", "route", "add", "172.30.0.0/24", "via", "10.0.0.1")
    more = dressed | {"interfaces": [*dressed["interfaces"], {"name": "ifb0"}]}
    assert plugin.one("CHECK", container, prevResult=more).nothing


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("ip address delete 10.0.0.2/24 dev eth0", "10.0.0.2"),
        ("ip address delete fd00::2/64 dev eth0", "fd00::2"),
        ("ip route delete default", "10.0.0.1"),
        ("ip -6 route delete default", "fd00::1"),
        ("ip link set eth0 down", "down"),
        ("ip link set eth0 address 02:00:00:00:99:99", "MAC"),
        ("ip link delete eth0", "no such interface"),
    ],
)
def test_check_tells_what_is_damaged(
    plugin: Plugin, container: Path, dressed: dict[str, Any], damage: str, words: str
) -> None:
    inside(container, *damage.split())
    code, message = plugin.one("CHECK", container, prevResult=dressed).error
    assert code == 103
    assert words in message


def test_check_tells_what_the_node_does_not_know(
    fake: FakeNode, plugin: Plugin, container: Path, dressed: dict[str, Any]
) -> None:
    fake.attachments[SANDBOX, "eth0"]["trouble"] = "the kernel refuses"
    assert "the kernel refuses" in plugin.one("CHECK", container, prevResult=dressed).error[1]
    fake.attachments[SANDBOX, "eth0"] |= {"trouble": "", "addresses": ["10.0.0.99/24"]}
    assert "10.0.0.2/24" in plugin.one("CHECK", container, prevResult=dressed).error[1]
    fake.attachments.clear()
    assert plugin.one("CHECK", container, prevResult=dressed).error[0] == 103


def test_check_of_a_namespace_that_is_gone_is_an_unknown_container(
    plugin: Plugin, container: Path, dressed: dict[str, Any]
) -> None:
    netns.remove(container)
    assert plugin.one("CHECK", container, prevResult=dressed).error[0] == 3


# Others' plugins after this one (Debian's containernetworking-plugins, as far as 1.0.0)


def tuning(verb: str, path: Path, before: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """Debian's `tuning` in a chain after ours."""
    config = {"cniVersion": "1.0.0", "name": "blue-web", "type": "tuning", "mtu": 1400, "prevResult": before}
    given = {"COMMAND": verb, "CONTAINERID": "c1", "NETNS": str(path), "IFNAME": "eth0", "PATH": "/usr/lib/cni"}
    environment = {f"CNI_{name}": value for name, value in given.items()}
    return subprocess.run(
        ["/usr/lib/cni/tuning"], env=environment, input=json.dumps(config), capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(not Path("/usr/lib/cni/tuning").exists(), reason="containernetworking-plugins is not installed")
def test_another_plugin_reads_our_result(plugin: Plugin, container: Path) -> None:
    answer = plugin.one("ADD", container, cniVersion="1.0.0")
    dress(container, answer)
    after = tuning("ADD", container, answer.result)
    assert after.returncode == 0, after.stdout
    result = json.loads(after.stdout)
    assert result["ips"] == answer.result["ips"]
    assert result["dns"] == answer.result["dns"]
    assert plugin.one("CHECK", container, cniVersion="1.0.0", prevResult=result).nothing


# STATUS


def test_status_says_nothing_when_all_is_well(plugin: Plugin) -> None:
    assert plugin.call("STATUS", plugin.config()).nothing


def test_status_without_the_network_is_not_available(plugin: Plugin) -> None:
    code, message = plugin.call("STATUS", plugin.config(network="nowhere")).error
    assert code == 50
    assert "blue/nowhere" in message


def test_status_with_failures_is_limited(fake: FakeNode, plugin: Plugin) -> None:
    fake.failures.append("network:blue/web: the bridge is gone")
    code, message = plugin.call("STATUS", plugin.config()).error
    assert code == 51
    assert "the bridge is gone" in message


# GC


def valid(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {KEEP: [{"containerID": container, "ifname": ifname} for container, ifname in pairs]}


def test_gc_removes_what_is_not_valid_any_more(fake: FakeNode, plugin: Plugin, namespaces: Make) -> None:
    for number in range(3):
        assert plugin.one("ADD", namespaces(), id=f"c{number}").code == 0
    assert plugin.call("GC", plugin.config(**valid(("c1", "eth0"), ("c2", "net1")))).nothing
    assert set(fake.attachments) == {(SANDBOX, "eth0")}


def test_gc_of_one_network_leaves_another_s(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    assert plugin.one("ADD", container, "net1", name="other").code == 0
    assert plugin.call("GC", plugin.config(**valid())).nothing
    assert fake.names() == {("other", "net1")}


def test_gc_leaves_what_others_attached(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    fake.attachments[SANDBOX, "eth0"]["owner"] = "attach"
    assert plugin.call("GC", plugin.config(**valid())).nothing
    assert len(fake.attachments) == 1


@pytest.mark.parametrize(
    "more", [{}, {KEEP: None}, {KEEP: {}}, {KEEP: [5]}, {KEEP: [{"containerID": "c1"}]}, {KEEP: [{"ifname": "eth0"}]}]
)
def test_gc_without_a_clear_list_removes_nothing(
    fake: FakeNode, plugin: Plugin, container: Path, more: dict[str, Any]
) -> None:
    assert plugin.one("ADD", container).code == 0
    assert plugin.call("GC", plugin.config(**more)).error[0] == 7
    assert len(fake.attachments) == 1


def test_gc_goes_on_past_what_it_cannot_remove(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    assert plugin.one("ADD", container, "net1").code == 0
    fake.stuck.add("eth0")
    code, message = plugin.call("GC", plugin.config(**valid())).error
    assert code == 102
    assert "eth0" in message
    assert set(fake.attachments) == {(SANDBOX, "eth0")}


# The node


@pytest.mark.parametrize(("verb", "code"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("STATUS", 50), ("GC", 11)])
def test_without_a_node_it_is_to_be_tried_again(rundir: Path, container: Path, verb: str, code: int) -> None:
    plugin = Plugin(socket=rundir / "nobody.sock")
    before = {"interfaces": [{"name": "eth0", "sandbox": str(container)}]}
    found, message = plugin.one(verb, container, **valid(), prevResult=before).error
    assert found == code
    assert str(plugin.socket) in message


def test_a_node_that_dies_over_an_add_is_to_be_asked_again(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    fake.mute = True
    assert plugin.one("ADD", container).error[0] == 11
    assert fake.attachments == {}


def test_status_does_not_wait_long_for_a_node_that_hangs(rundir: Path) -> None:
    plugin = Plugin(socket=rundir / "hung.sock")
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(plugin.socket))
        hung.listen()
        assert plugin.call("STATUS", plugin.config()).error[0] == 50


# Many at once


def test_containers_come_and_go_at_once(fake: FakeNode, plugin: Plugin, namespaces: Make) -> None:
    paths = [namespaces() for _ in range(12)]

    def all_at_once(verb: str) -> list[Answer]:
        calls = [
            plugin.start(verb, plugin.config(), CONTAINERID=f"c{n}", NETNS=str(path), IFNAME="eth0")
            for n, path in enumerate(paths)
        ]
        return [finish(call) for call in calls]

    added = all_at_once("ADD")
    assert len({json.dumps(answer.result["ips"]) for answer in added}) == len(paths)
    assert all(answer.nothing for answer in all_at_once("DEL"))
    assert fake.attachments == {}


def test_add_and_del_of_one_container_end_in_one_of_two_ways(fake: FakeNode, plugin: Plugin, container: Path) -> None:
    one = {"CONTAINERID": "c1", "NETNS": str(container), "IFNAME": "eth0"}
    calls = [plugin.start(verb, plugin.config(), **one) for verb in ("ADD", "DEL", "ADD", "DEL")]
    added, first, again, second = (finish(call) for call in calls)
    assert first.nothing
    assert second.nothing
    assert added.code == 0 or again.code == 0
    assert len(fake.attachments) <= 1
    assert plugin.one("DEL", container).nothing
    assert fake.attachments == {}


def test_the_example_is_a_configuration_of_this_plugin() -> None:
    path = Path(__file__).parents[3] / "examples" / "cni" / "10-hawser.conflist"
    example = json.loads(path.read_text())
    assert example["cniVersion"] in VERSIONS
    assert [plugin["type"] for plugin in example["plugins"]] == ["hawser-cni"]
