"""The plugin against a real node: what it says is so in the containers' namespaces, and nothing stays of what fails."""

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hawser.cni.verbs import sandbox_of
from hawser.demo import probes
from hawser.faults import Fault
from hawser.netd.drivers import netns
from tests.hawser.conftest import NodeProcess
from tests.wait import until

from .conftest import Make, inside
from .plugin import Answer, Plugin, finish

pytestmark = pytest.mark.root

KEEP = "cni.dev/valid-attachments"
PORT = 4711


@pytest.fixture(scope="module")
def ground(node: NodeProcess) -> NodeProcess:
    """The node with networks of tenant blue: web (both families) and db."""
    for name, subnets in (("web", ["10.7.0.0/24", "fd07::/64"]), ("db", ["10.8.0.0/24"])):
        node.client.post("/v1/networks", {"tenant": "blue", "name": name, "subnets": subnets})
    return node


@pytest.fixture
def plugin(ground: NodeProcess) -> Iterator[Plugin]:
    """The plugin with this node, which is empty again afterwards."""
    yield Plugin(socket=ground.socket)
    for one in ground.client.get("/v1/attachments"):
        ground.client.delete(f"/v1/attachments/{one['sandbox']}/{one['ifname']}")


def made(node: NodeProcess) -> list[tuple[str, str]]:
    """Sandboxes and interfaces of the node's attachments."""
    return [(one["sandbox"], one["ifname"]) for one in node.client.get("/v1/attachments")]


def kept(node: NodeProcess) -> list[str]:
    """The namespaces that the node has adopted."""
    return sorted(path.name for path in (node.directory / "run" / "netns").glob("cni-*"))


def links(path: Path) -> set[str]:
    return {name for _, name in netns.inside_here(path, socket.if_nameindex)}


def addresses(answer: Answer) -> list[str]:
    return [one["address"].partition("/")[0] for one in answer.result["ips"]]


def reaches(source: Path, target: Path, address: str) -> bool:
    """Whether a TCP connection from one namespace comes through to another's address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = netns.inside_here(target, lambda: socket.create_server((address, PORT), family=family))
    with server:
        server.settimeout(5)
        with netns.inside_here(source, lambda: socket.create_connection((address, PORT), 5)):
            server.accept()[0].close()
    return True


def test_containers_of_a_network_speak_with_each_other(plugin: Plugin, namespaces: Make) -> None:
    first, second = namespaces(), namespaces()
    assert plugin.one("ADD", first, id="c1").code == 0
    answer = plugin.one("ADD", second, id="c2")
    for address in addresses(answer):
        assert reaches(first, second, address)


def test_what_add_says_is_so(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    result = plugin.one("ADD", container).result
    assert result["interfaces"][0]["sandbox"] == str(container)
    assert [one["gateway"] for one in result["ips"]] == ["10.7.0.1", "fd07::1"]
    assert [route["dst"] for route in result["routes"]] == ["0.0.0.0/0", "::/0"]
    link = json.loads(inside(container, "ip", "-j", "link", "show", "eth0"))[0]
    assert (link["address"], link["mtu"]) == (result["interfaces"][0]["mac"], result["interfaces"][0]["mtu"])
    assert plugin.one("CHECK", container, prevResult=result).nothing
    assert made(ground) == [(sandbox_of("c1"), "eth0")]


def test_check_tells_what_was_taken_away(plugin: Plugin, container: Path) -> None:
    result = plugin.one("ADD", container, "net1").result
    inside(container, "ip", "link", "set", "net1", "name", "other")
    assert plugin.one("CHECK", container, "net1", prevResult=result).error[0] == 103


def test_wishes_come_true(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    runtime = {
        "ips": ["10.7.0.77", "fd07::77"],
        "mac": "02:00:00:00:77:77",
        "portMappings": [{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 80_000_000, "egressRate": 80_000_000},
    }
    call = {"CONTAINERID": "c1", "NETNS": str(container), "IFNAME": "eth0", "ARGS": "K8S_POD_NAME=web-1"}
    answer = plugin.call("ADD", plugin.config(runtimeConfig=runtime, labels={"app": "web"}), **call)
    assert addresses(answer) == ["10.7.0.77", "fd07::77"]
    assert answer.result["interfaces"][0]["mac"] == "02:00:00:00:77:77"
    assert plugin.one("CHECK", container, prevResult=answer.result).nothing
    one = ground.client.get("/v1/attachments", sandbox=sandbox_of("c1"))[0]
    assert one["publish"] == ["18080:80/tcp"]
    assert one["labels"] == {"app": "web", "io.kubernetes.pod.name": "web-1"}
    assert one["context"] == {"network": "blue-web", "container": "c1"}
    assert one["qos"] == {"ingress": 80_000_000, "egress": 80_000_000}


def test_ports_are_mapped_as_kubernetes_asks_for_it(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    """Capability portMappings: tcp and udp, on every address and on one; what has no host port is only declared."""
    runtime = {
        "portMappings": [
            {"hostPort": 18081, "containerPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"},
            {"hostPort": 18082, "containerPort": 80, "hostIP": "0.0.0.0"},
            {"hostPort": 18083, "containerPort": 53, "protocol": "udp", "hostIP": ""},
            {"containerPort": 9999, "protocol": "tcp"},
        ],
        "bandwidth": {"ingressRate": 80_000_000, "ingressBurst": 1_000_000, "egressRate": 0, "egressBurst": 0},
    }
    call = {"CONTAINERID": "c1", "NETNS": str(container), "IFNAME": "eth0"}
    assert plugin.call("ADD", plugin.config(runtimeConfig=runtime), **call).code == 0
    with netns.inside_here(container, lambda: socket.create_server(("0.0.0.0", 80))) as server:
        server.settimeout(5)
        for port in (18081, 18082):
            with socket.create_connection(("127.0.0.1", port), 5):
                server.accept()[0].close()
    datagrams = netns.inside_here(container, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with datagrams, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        datagrams.bind(("0.0.0.0", 53))
        datagrams.settimeout(5)
        asking.sendto(b"ping", ("127.0.0.1", 18083))
        assert datagrams.recv(16) == b"ping"
    (one,) = ground.client.get("/v1/attachments", sandbox=sandbox_of("c1"))
    assert (len(one["publish"]), one["qos"]) == (3, {"ingress": 80_000_000})
    assert plugin.one("DEL", container).nothing
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", 18081)) != 0


def test_a_pod_is_found_by_its_name(ground: NodeProcess, plugin: Plugin, namespaces: Make) -> None:
    """As podman's containers are, whose names come the same way."""
    asks, pod = namespaces(), namespaces()
    for id, path, name in (("c1", asks, "asks"), ("c2", pod, "pod-1")):
        call = {"CONTAINERID": id, "NETNS": str(path), "IFNAME": "eth0", "ARGS": f"K8S_POD_NAME={name}"}
        assert plugin.call("ADD", plugin.config(), **call).code == 0
    until(lambda: probes.resolve(asks, "10.7.0.1", "pod-1.blue.mesh.internal") == (0, 1), what="the pod by its name")
    assert plugin.one("DEL", pod, id="c2").nothing
    until(lambda: probes.resolve(asks, "10.7.0.1", "pod-1.blue.mesh.internal") == (3, 0), what="its name gone")


def test_the_machine_s_own_namespace_is_nobody_s(ground: NodeProcess) -> None:
    """Asked of the node by itself: the plugin would not pass it on."""
    wanted = {"sandbox": "x", "owner": "cni", "netns": "/proc/self/ns/net", "tenant": "blue", "network": "web"}
    with pytest.raises(Fault, match="machine's own"):
        ground.client.post("/v1/attachments", wanted)
    assert kept(ground) == []


def test_del_leaves_the_namespace_as_it_was(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    assert links(container) == {"lo", "eth0"}
    assert kept(ground) == [sandbox_of("c1")]
    assert plugin.one("DEL", container).nothing
    assert links(container) == {"lo"}
    assert (made(ground), kept(ground)) == ([], [])
    assert plugin.one("DEL", container).nothing


@pytest.mark.parametrize("given", [True, False])
def test_del_of_a_namespace_that_is_gone_gives_everything_back(
    ground: NodeProcess, plugin: Plugin, container: Path, given: bool
) -> None:
    fixed: dict[str, Any] = {"runtimeConfig": {"ips": ["10.7.0.50", "fd07::50"]}}
    assert plugin.one("ADD", container, **fixed).code == 0
    netns.remove(container)
    assert plugin.one("DEL", container if given else None, **fixed).nothing
    assert (made(ground), kept(ground)) == ([], [])
    netns.create_here(container)
    assert addresses(plugin.one("ADD", container, **fixed)) == ["10.7.0.50", "fd07::50"]


def test_an_interface_that_is_there_is_left_alone(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    inside(container, "ip", "link", "add", "eth0", "type", "veth", "peer", "p0")
    code, message = plugin.one("ADD", container).error
    assert code == 100
    assert "eth0" in message
    assert links(container) == {"lo", "eth0", "p0"}
    assert (made(ground), kept(ground)) == ([], [])
    assert plugin.one("DEL", container).nothing
    assert links(container) == {"lo", "eth0", "p0"}


def test_a_second_add_of_an_interface_harms_nothing(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    result = plugin.one("ADD", container).result
    assert plugin.one("ADD", container).error[0] == 100
    assert plugin.one("CHECK", container, prevResult=result).nothing


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"network": "nowhere"}, 7),
        ({"runtimeConfig": {"ips": ["10.9.9.9"]}}, 7),
        ({"runtimeConfig": {"mac": "ff:ff:ff:ff:ff:ff"}}, 7),
        ({"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}]}}, 7),
        ({"runtimeConfig": {"bandwidth": {"ingressRate": 1}}}, 7),
        ({"labels": {"hawser.context.network": "other"}}, 7),
    ],
)
def test_an_add_that_is_refused_leaves_nothing(
    ground: NodeProcess, plugin: Plugin, container: Path, more: dict[str, Any], code: int
) -> None:
    assert plugin.one("ADD", container, **more).error[0] == code
    assert links(container) == {"lo"}
    assert (made(ground), kept(ground)) == ([], [])


def test_a_taken_address_is_refused_and_the_container_s_others_stay(
    ground: NodeProcess, plugin: Plugin, namespaces: Make
) -> None:
    first, second = namespaces(), namespaces()
    taken = addresses(plugin.one("ADD", first, id="c1"))
    result = plugin.one("ADD", second, id="c2", name="blue-db", network="db").result
    assert plugin.one("ADD", second, "net1", id="c2", runtimeConfig={"ips": taken}).error[0] == 100
    check: dict[str, Any] = {"id": "c2", "name": "blue-db", "network": "db", "prevResult": result}
    assert plugin.one("CHECK", second, **check).nothing
    assert links(second) == {"lo", "eth0"}


def test_a_container_that_came_back_without_a_word_begins_anew(
    ground: NodeProcess, plugin: Plugin, container: Path
) -> None:
    assert plugin.one("ADD", container).code == 0
    assert plugin.one("ADD", container, "net1", name="blue-db", network="db").code == 0
    netns.remove(container)
    netns.create_here(container)
    assert plugin.one("ADD", container).code == 0
    assert links(container) == {"lo", "eth0"}
    assert made(ground) == [(sandbox_of("c1"), "eth0")]


def test_interfaces_of_a_container_go_one_by_one(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    db: dict[str, Any] = {"name": "blue-db", "network": "db"}
    assert plugin.one("ADD", container).code == 0
    second = plugin.one("ADD", container, "net1", **db).result
    assert second["routes"] == []
    assert plugin.one("DEL", container, "net1").nothing  # of another network: not that one's
    assert plugin.one("DEL", container).nothing
    assert links(container) == {"lo", "net1"}
    assert plugin.one("CHECK", container, "net1", prevResult=second, **db).nothing
    assert plugin.one("DEL", container, "net1", **db).nothing
    assert (links(container), kept(ground)) == ({"lo"}, [])


def test_containers_come_and_go_at_once(ground: NodeProcess, plugin: Plugin, namespaces: Make) -> None:
    paths = [namespaces() for _ in range(8)]

    def all_at_once(verb: str) -> list[Answer]:
        ids = enumerate(paths)
        calls = [
            plugin.start(verb, plugin.config(), CONTAINERID=f"c{n}", NETNS=str(path), IFNAME="eth0") for n, path in ids
        ]
        return [finish(call) for call in calls]

    added = all_at_once("ADD")
    assert len({address for answer in added for address in addresses(answer)}) == 2 * len(paths)
    assert all(answer.nothing for answer in all_at_once("DEL"))
    assert [links(path) for path in paths] == [{"lo"}] * len(paths)
    assert (made(ground), kept(ground)) == ([], [])


def test_interfaces_of_one_container_come_and_go_at_once(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    names = [f"net{n}" for n in range(6)]

    def all_at_once(verb: str) -> list[Answer]:
        one = {"CONTAINERID": "c1", "NETNS": str(container)}
        calls = [plugin.start(verb, plugin.config(), IFNAME=name, **one) for name in names]
        return [finish(call) for call in calls]

    assert {answer.code for answer in all_at_once("ADD")} == {0}
    assert links(container) == {"lo", *names}
    assert all(answer.nothing for answer in all_at_once("DEL"))
    assert (links(container), made(ground), kept(ground)) == ({"lo"}, [], [])


def test_add_and_del_of_one_container_leave_nothing_half(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    one = {"CONTAINERID": "c1", "NETNS": str(container), "IFNAME": "eth0"}
    for _ in range(4):
        calls = [plugin.start(verb, plugin.config(), **one) for verb in ("ADD", "DEL", "ADD", "DEL")]
        answers = [finish(call) for call in calls]
        assert answers[1].nothing
        assert answers[3].nothing
        there = made(ground)
        assert links(container) == {"lo", *(ifname for _, ifname in there)}
        assert kept(ground) == [sandbox for sandbox, _ in there]
        assert plugin.one("DEL", container).nothing
        assert (links(container), made(ground), kept(ground)) == ({"lo"}, [], [])


def test_the_last_interface_s_going_never_trips_another_s_coming(
    ground: NodeProcess, plugin: Plugin, container: Path
) -> None:
    def comes_and_goes(ifname: str) -> None:
        wanted = {"sandbox": "cni-x", "owner": "cni", "netns": str(container), "tenant": "blue", "network": "web"}
        for _ in range(25):
            ground.client.post("/v1/attachments", wanted | {"ifname": ifname})
            ground.client.delete(f"/v1/attachments/cni-x/{ifname}")

    with ThreadPoolExecutor(3) as pool:
        for ended in [pool.submit(comes_and_goes, name) for name in ("net1", "net2", "net3")]:
            ended.result()
    assert (links(container), kept(ground)) == ({"lo"}, [])


def test_gc_removes_what_is_not_valid_any_more(ground: NodeProcess, plugin: Plugin, namespaces: Make) -> None:
    paths = [namespaces() for _ in range(3)]
    for number, path in enumerate(paths):
        assert plugin.one("ADD", path, id=f"c{number}").code == 0
    assert plugin.one("ADD", paths[0], "net1", id="c0", name="blue-db", network="db").code == 0
    netns.remove(paths[2])
    valid = {KEEP: [{"containerID": "c1", "ifname": "eth0"}]}
    assert plugin.call("GC", plugin.config(**valid)).nothing
    assert sorted(made(ground)) == sorted([(sandbox_of("c0"), "net1"), (sandbox_of("c1"), "eth0")])
    assert [links(path) for path in paths[:2]] == [{"lo", "net1"}, {"lo", "eth0"}]
    assert kept(ground) == sorted([sandbox_of("c0"), sandbox_of("c1")])


def test_status_knows_the_networks(plugin: Plugin) -> None:
    assert plugin.call("STATUS", plugin.config()).nothing
    assert plugin.call("STATUS", plugin.config(network="nowhere")).error[0] == 50


def test_a_node_that_is_killed_finds_its_attachments_again(
    ground: NodeProcess, plugin: Plugin, container: Path
) -> None:
    result = plugin.one("ADD", container).result
    ground.kill(signal.SIGKILL)
    assert plugin.call("STATUS", plugin.config()).error[0] == 50
    ground.start()
    assert plugin.one("CHECK", container, prevResult=result).nothing
    until(lambda: ground.client.get("/v1/plan", area="net") == [], what="an empty plan")
    assert plugin.one("DEL", container).nothing
    assert (links(container), made(ground), kept(ground)) == ({"lo"}, [], [])


def test_a_network_that_is_used_stays(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    assert plugin.one("ADD", container).code == 0
    with pytest.raises(Fault) as refused:
        ground.client.delete("/v1/networks/blue/web")
    assert refused.value.kind == "conflict"


def test_a_container_of_the_node_s_own_is_nobody_else_s(ground: NodeProcess, container: Path) -> None:
    wish = {"image": "busybox", "argv": ["/bin/sleep", "1000"], "network": "web", "tenant": "blue"}
    own = ground.client.post("/v1/containers", wish)["id"]
    try:
        wanted = {"sandbox": own, "owner": "cni", "netns": str(container), "tenant": "blue", "network": "web"}
        with pytest.raises(Fault) as refused:
            ground.client.post("/v1/attachments", wanted | {"ifname": "net1"})
        assert refused.value.kind == "conflict"
        with pytest.raises(Fault) as missing:
            ground.client.delete(f"/v1/attachments/{own}/eth0")
        assert missing.value.kind == "not-found"
        assert [one["owner"] for one in ground.client.get("/v1/attachments", sandbox=own)] == ["container"]
    finally:
        ground.client.delete(f"/v1/containers/{own}", force=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("owner", "me"), ("netns", "relative"), ("netns", "/etc/passwd"), ("ifname", "a/b"), ("publish", ["x"]), ("x", 1)],
)
def test_a_request_that_makes_no_sense_leaves_nothing(
    ground: NodeProcess, container: Path, field: str, value: Any
) -> None:
    wanted = {"sandbox": "cni-x", "owner": "cni", "netns": str(container), "tenant": "blue", "network": "web"}
    with pytest.raises(Fault) as refused:
        ground.client.post("/v1/attachments", {**wanted, "ifname": "eth0", field: value})
    assert refused.value.kind == "usage"
    assert kept(ground) == []


def test_del_succeeds_when_the_network_s_record_is_gone(ground: NodeProcess, plugin: Plugin, container: Path) -> None:
    ground.client.post("/v1/networks", {"tenant": "blue", "name": "lost", "subnets": ["10.99.0.0/24"]})
    assert plugin.one("ADD", container, network="lost").code == 0
    ground.delete_keys("/hawser/netd/networks/blue/lost")
    assert plugin.one("DEL", container, network="lost").nothing
    assert made(ground) == []
    until(lambda: links(container) == {"lo"}, what="the container's namespace as it was")
    until(lambda: kept(ground) == [], what="the adopted namespace let go")
