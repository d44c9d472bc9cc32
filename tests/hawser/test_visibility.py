"""Limits, mirrors, captures and counters of a real node's ports, as its user sees them."""

import json
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hawser.netd.drivers import netns
from tests.hawser.conftest import HAWSER, NodeProcess
from tests.netd.machines import ping
from tests.netd.yard import dscp, frames, say, sniffer
from tests.wait import until

pytestmark = pytest.mark.root

SLEEP = ("/bin/sleep", "1000000")
PCAP = 0xA1B23C4D


@pytest.fixture
def pair(clean: NodeProcess) -> Iterator[NodeProcess]:
    """Containers `one`, `two` and `three` of tenant blue."""
    clean.client.post(
        "/v1/networks", {"tenant": "blue", "name": "web", "kind": "bridge", "subnets": ["10.7.0.0/24", "fd07::/64"]}
    )
    for name in ("one", "two", "three"):
        assert clean.hawser("run", "-d", "-t", "blue", "--net", "web", "--name", name, "busybox", *SLEEP).code == 0
    yield clean
    for policy in clean.client.get("/v1/policies"):
        clean.client.delete(f"/v1/policies/{policy['tenant']}/{policy['name']}")


def sandbox(node: NodeProcess, name: str) -> str:
    return str(node.client.get(f"/v1/containers/{name}")["id"])


def space(node: NodeProcess, name: str) -> Path:
    return node.directory / "run" / "netns" / sandbox(node, name)


def address(node: NodeProcess, name: str, version: int = 4) -> str:
    found = node.client.get(f"/v1/containers/{name}")["addresses"]
    return str(next(one.partition("/")[0] for one in found if (":" in one) == (version == 6)))


def tenant(node: NodeProcess) -> Path:
    return node.directory / "run" / "tenants" / "blue"


def instance(node: NodeProcess) -> str:
    return str(node.client.get("/v1/status")["machine"])[:8]


def inside(node: NodeProcess, *command: str) -> str:
    """Run a command where the tenant's links and rules are."""
    whole = ["nsenter", f"--net={tenant(node)}", *command]
    return subprocess.run(whole, check=True, capture_output=True, text=True, timeout=10).stdout


def rate(node: NodeProcess, source: str, target: str) -> float:
    """Bit/s of a TCP stream after a while."""
    server = netns.inside(space(node, target), lambda: socket.create_server(("", 5201)))
    client = netns.inside(space(node, source), lambda: socket.socket(socket.AF_INET))
    with server, client:
        client.settimeout(5)
        client.connect((address(node, target), 5201))
        taker, _ = server.accept()
        stop = threading.Event()
        thread = threading.Thread(target=_send, args=(client, stop), daemon=True)
        thread.start()
        with taker:
            _take(taker, 0.5)
            begin = time.monotonic()
            octets = _take(taker, 1.0)
            took = time.monotonic() - begin
            stop.set()
            client.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    return octets * 8 / took


def _send(sock: socket.socket, stop: threading.Event) -> None:
    try:
        while not stop.is_set():
            sock.send(bytes(1 << 15))
    except OSError:
        return


def _take(sock: socket.socket, seconds: float) -> int:
    end, octets = time.monotonic() + seconds, 0
    sock.settimeout(2)
    while time.monotonic() < end:
        octets += len(sock.recv(1 << 18))
    return octets


def test_a_port_is_limited_while_it_is_in_use(pair: NodeProcess) -> None:
    assert pair.hawser("net", "limit", "one").out == "none\n"
    outcome = pair.hawser("net", "limit", "one", "eth0", "--ingress", "10mbit", "--egress", "5mbit", "--dscp", "46")
    assert (outcome.out, outcome.err) == ("ingress=10000000 egress=5000000 dscp=46\n", "")
    assert pair.client.get("/v1/plan") == []
    assert 3e6 < rate(pair, "two", "one") < 12e6  # how exactly: tests/netd/qos
    assert 1.5e6 < rate(pair, "one", "two") < 6e6
    with sniffer(space(pair, "two"), "eth0") as seen:
        say(space(pair, "one"), address(pair, "two"), b"marked")
        assert [dscp(frame) for frame in frames(seen, b"marked")] == [46]


def test_what_is_not_named_stays(pair: NodeProcess) -> None:
    pair.hawser("net", "limit", "one", "eth0", "--ingress", "10mbit", "--dscp", "46")
    assert pair.hawser("net", "limit", "one", "--egress", "1gbit", "--dscp", "none").out == (
        "ingress=10000000 egress=1000000000\n"
    )
    assert pair.hawser("net", "limit", "one", "--none", "--dscp", "10").out == "dscp=10\n"
    assert pair.hawser("net", "limit", "one", "--none").out == "none\n"
    assert "ifb" not in inside(pair, "ip", "-d", "link")
    assert "netdev" not in inside(pair, "nft", "list", "tables")
    assert rate(pair, "two", "one") > 50e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "--ingress", "1bit"], "give 8000 to 1000000000000 bit/s"),
        (["one", "--dscp", "64"], "dscp 64: give a number from 0 to 63"),
        (["one", "--ingress", "fast"], "ingress 'fast': "),
        (["one", "eth7", "--dscp", "1"], "one has no interface eth7"),
        (["nobody", "--dscp", "1"], "no container nobody"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(pair: NodeProcess, arguments: list[str], message: str) -> None:
    outcome = pair.hawser("net", "limit", *arguments)
    assert outcome.code in (2, 3)
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_port_is_mirrored_until_that_is_removed(pair: NodeProcess) -> None:
    assert pair.hawser("net", "mirror", "add", "one", "eth0", "three").err == ""
    rows = json.loads(pair.hawser("net", "mirror", "ls", "--json").out)
    assert [(row["direction"], row["active"]) for row in rows] == [("egress", True), ("ingress", True)]
    assert ping(space(pair, "two"), address(pair, "one"))
    with sniffer(space(pair, "three"), "eth0") as seen:
        say(space(pair, "one"), address(pair, "two"), b"copied")
        assert frames(seen, b"copied")
        say(space(pair, "two"), address(pair, "one"), b"also copied")
        assert frames(seen, b"also copied")
        assert pair.hawser("net", "mirror", "rm", "one", "eth0", "three", "--direction", "ingress").code == 0
        say(space(pair, "two"), address(pair, "one"), b"not copied")
        # that nobody listens is said, and copied, in ICMP
        assert [frame for frame in frames(seen, b"not copied", 0.2) if frame[23] == socket.IPPROTO_UDP] == []
    assert pair.hawser("net", "mirror", "rm", "one", "eth0", "three").code == 0
    assert pair.hawser("net", "mirror", "rm", "one", "eth0", "three").code == 3
    assert pair.client.get("/v1/plan") == []


def test_a_mirror_waits_for_the_port_it_leads_to(pair: NodeProcess) -> None:
    assert pair.hawser("net", "attach", "-t", "blue", "three", "web", "--ifname", "tap").code == 0
    pair.hawser("net", "mirror", "add", "one", "eth0", "three:tap")
    pair.hawser("net", "detach", "three", "tap")
    until(lambda: pair.client.get("/v1/plan") == [], what="what was mirrored settled")
    assert not any(row["active"] for row in pair.client.get("/v1/mirrors"))
    assert ping(space(pair, "one"), address(pair, "two"))
    pair.hawser("net", "attach", "-t", "blue", "three", "web", "--ifname", "tap")
    until(lambda: pair.client.get("/v1/plan") == [], what="the mirror")
    with sniffer(space(pair, "three"), "tap") as seen:
        say(space(pair, "one"), address(pair, "two"), b"again")
        assert frames(seen, b"again")


@pytest.mark.parametrize(
    ("to", "message"),
    [("one", "is mirrored to itself"), ("two", "lead back to it"), ("other", "tenant blue has no port")],
)
def test_a_mirror_that_makes_no_sense_is_refused(pair: NodeProcess, to: str, message: str) -> None:
    pair.hawser("run", "-d", "-t", "red", "--name", "other", "busybox", *SLEEP)
    assert pair.hawser("net", "mirror", "add", "two", "eth0", "one").code == 0
    outcome = pair.hawser("net", "mirror", "add", "one", "eth0", to)
    assert outcome.code in (2, 3)
    assert message in outcome.err


def test_a_capture_is_a_pcap_file(pair: NodeProcess, tmp_path: Path) -> None:
    target = address(pair, "two")
    with talking(pair, "one", target):
        outcome = pair.hawser(
            "net", "capture", "one", "-w", str(tmp_path / "f"), "--count", "3", "--direction", "egress"
        )
    assert re.fullmatch(r"3 packets, [0-9]+ bytes; ended by packets\n", outcome.err)
    data = (tmp_path / "f").read_bytes()
    assert struct.unpack_from("<I", data) == (PCAP,)
    assert data.count(b"spoken") == 3
    with talking(pair, "one", target):
        command = [HAWSER, "--socket", str(pair.socket), "net", "capture", "one", "eth0", "-w", "-", "--count", "2"]
        answer = subprocess.run(command, capture_output=True, timeout=30, check=True)
    assert struct.unpack_from("<I", answer.stdout) == (PCAP,)


@contextmanager
def talking(node: NodeProcess, source: str, target: str) -> Iterator[None]:
    """Somebody speaks all the time, for the length of the block."""
    stop = threading.Event()

    def speak(sock: socket.socket) -> None:
        while not stop.wait(0.02):
            sock.sendto(b"spoken", (target, 9))

    with netns.inside(space(node, source), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        thread = threading.Thread(target=speak, args=(sock,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5)


def samples(node: NodeProcess) -> dict[str, int]:
    page = node.hawser("net", "metrics").out
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: int(value) for name, _, value in lines}


def test_ports_and_policies_are_counted(pair: NodeProcess) -> None:
    one, two = sandbox(pair, "one"), sandbox(pair, "two")
    labels = '{{tenant="blue",network="web",sandbox="{}",ifname="eth0",machine="{}"}}'
    machine = pair.client.get("/v1/status")["machine"]
    sent = "hawser_port_transmit_packets_total" + labels.format(one, machine)
    got = "hawser_port_receive_packets_total" + labels.format(two, machine)
    refused = "hawser_port_refused_packets_total" + labels.format(one, machine)
    assert (
        pair.hawser("policy", "allow", "-t", "blue", "--to", "network=web", "--proto", "icmp", "--name", "p").code == 0
    )
    until(lambda: pair.client.get("/v1/plan") == [], what="the policy")
    before = samples(pair)
    assert before[refused] == 0
    assert ping(space(pair, "one"), address(pair, "two"))
    spoof(space(pair, "one"))
    say(space(pair, "one"), address(pair, "two"), b"dropped")
    until(lambda: samples(pair)[refused] == 3, what="what was refused")
    after = samples(pair)
    assert after[sent] > before[sent]
    assert after[got] > before[got]
    policy = 'hawser_policy_packets_total{{tenant="blue",policy="{}",direction="ingress",rule="{}",verdict="{}"}}'
    assert after[policy.format("p", 0, "allow")] >= 1
    assert after[policy.format("-", "default", "drop")] == 1
    assert pair.client.get("/v1/plan") == []


def spoof(place: Path) -> None:
    """Three frames with a foreign MAC."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind(("eth0", 0))
            for _ in range(3):
                sock.send(b"\xff" * 6 + b"\x02\0\0\0\0\x99" + b"\x08\x00" + bytes(46))

    netns.inside(place, send)


def test_every_port_asks_every_other(pair: NodeProcess) -> None:
    outcome = pair.hawser("net", "ping", "blue/web", "--count", "2", "--interval", "0.05")
    assert outcome.code == 0, outcome.out
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[0] == ["from", "\\", "to", "one", "three", "two"]
    assert [row[0] for row in rows[1:4]] == ["one", "three", "two"]
    assert outcome.out.splitlines()[-1] == "12 sent, 12 received, 0% lost"
    answer = json.loads(pair.hawser("net", "ping", "blue", "-6", "-o", "json").out)
    assert (answer["sent"], answer["received"], answer["surprises"], answer["silent"]) == (18, 18, [], {})
    assert all(0 < one["p50_ms"] < 1000 for one in answer["pairs"])


def test_a_port_that_hears_nothing_is_a_surprise_unless_policies_say_so(pair: NodeProcess) -> None:
    pair.hawser("policy", "allow", "-t", "blue", "--to", "network=web", "--proto", "tcp", "--name", "p")
    until(lambda: pair.client.get("/v1/plan") == [], what="the policy")
    fast = ("--count", "1", "--timeout", "0.3")
    outcome = pair.hawser("net", "ping", "blue/web", *fast)
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, "6 sent, 0 received, 100% lost")
    pair.hawser("policy", "rm", "-t", "blue", "p")
    until(lambda: pair.client.get("/v1/plan") == [], what="no policy")
    netns.inside(space(pair, "three"), lambda: netns.sysctl("ipv4/icmp_echo_ignore_all", "1"))
    outcome = pair.hawser("net", "ping", "blue/web", *fast)
    assert outcome.code == 1
    assert "one -> three: does not answer, and should (egress of " in outcome.out
    assert "one -> two" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["blue/none"], "network blue/none does not exist"),
        (["nobody"], "tenant nobody does not exist"),
        (["blue", "--count", "1000", "--interval", "60"], "at most 300"),
    ],
)
def test_a_mesh_that_makes_no_sense_is_refused(pair: NodeProcess, arguments: list[str], message: str) -> None:
    outcome = pair.hawser("net", "ping", *arguments)
    assert outcome.code in (2, 3)
    assert message in outcome.err


def test_a_trace_names_every_hop(pair: NodeProcess) -> None:
    outcome = pair.hawser("net", "trace", "one", "two", "--tcp", "80")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    one, two = sandbox(pair, "one"), sandbox(pair, "two")
    assert lines[1] == "way: on one network, blue/web"
    assert "probe: nobody listens at tcp port 80, says the target, after " in outcome.out
    assert f"  seen  port {one}:eth0 sends it" in lines
    assert f"  seen  port {two}:eth0 gets it" in lines
    assert lines[-1] == f"  seen  the answer reaches port {one}:eth0"


def test_a_trace_says_where_a_packet_ends(pair: NodeProcess) -> None:
    pair.hawser("policy", "allow", "-t", "blue", "--to", "network=web", "--proto", "tcp", "--port", "80", "--name", "p")
    until(lambda: pair.client.get("/v1/plan") == [], what="the policy")
    outcome = pair.hawser("net", "trace", "one", address(pair, "two"), "--udp", "80", "--timeout", "0.3")
    assert outcome.code == 0, outcome.out
    assert "last seen: port security lets it in" in outcome.out
    assert "not seen:  routers and policies do not let it pass (ingress of " in outcome.out
    answer = json.loads(pair.hawser("net", "trace", "one", "two", "--tcp", "80", "--json").out)
    assert (answer["allowed"], answer["arrived"]) == (True, True)
    assert "policy" in [hop["name"] for hop in answer["hops"] if hop["seen"]]
    only = pair.hawser("net", "trace", "one", "two", "--no-probe").out
    assert only.splitlines()[-1].startswith("DENIED: ")
    assert "probe" not in only


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["10.7.0.2", "one"], "a trace begins at a port"),
        (["nobody", "one"], "no port is 'nobody'"),
        (["one", "two", "--tcp", "80", "--udp", "80"], "give one of --tcp, --udp and --icmp"),
        (["one", "192.0.2.1", "-6"], "no version of IP in common that is IPv6"),
    ],
)
def test_a_trace_that_makes_no_sense_is_refused(pair: NodeProcess, arguments: list[str], message: str) -> None:
    outcome = pair.hawser("net", "trace", *arguments)
    assert outcome.code in (2, 3)
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_reserved_ports_limits_are_the_reservations(pair: NodeProcess, rundir: Path) -> None:
    outcome = pair.hawser("net", "port", "create", "-t", "blue", "--network", "web", "--egress-rate", "5mbit", "r")
    assert outcome.code == 0, outcome.err
    place = rundir / "ns"
    netns.create(place)
    try:
        body = {"sandbox": "box", "owner": "attach", "netns": str(place), "tenant": "blue", "network": "web"}
        pair.client.post("/v1/attachments", body | {"reserved": "r"})
        assert pair.hawser("net", "limit", "box").out == "egress=5000000\n"
        assert pair.hawser("net", "limit", "box", "--dscp", "7").out == "egress=5000000 dscp=7\n"
        assert json.loads(pair.hawser("net", "port", "show", "-t", "blue", "r").out)["qos"]["dscp"] == 7
        with sniffer(space(pair, "two"), "eth0") as seen:
            say(place, address(pair, "two"), b"marked")
            assert [dscp(frame) for frame in frames(seen, b"marked")] == [7]
        assert pair.client.get("/v1/plan") == []
        pair.client.delete("/v1/attachments/box/eth0")
    finally:
        netns.remove(place)
        pair.hawser("net", "port", "rm", "-t", "blue", "r")


def test_a_capture_ends_with_whoever_reads_it(pair: NodeProcess) -> None:
    command = [HAWSER, "--socket", str(pair.socket), "net", "capture", "one", "-w", "-", "--seconds", "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert struct.unpack("<I", process.stdout.read(4)) == (PCAP,)
        assert listening(pair) == 1
        process.kill()
    until(lambda: listening(pair) == 0, what="the end of the capture")


def listening(node: NodeProcess) -> int:
    """Packet sockets in the tenant's namespace."""
    return len(inside(node, "cat", "/proc/net/packet").splitlines()) - 1


def test_a_capture_of_nothing_leaves_no_file(pair: NodeProcess, tmp_path: Path) -> None:
    outcome = pair.hawser("net", "capture", "one", "eth7", "-w", str(tmp_path / "f"))
    assert (outcome.code, outcome.err) == (3, "hawser: one has no interface eth7; see: hawser net show\n")
    outcome = pair.hawser("net", "capture", "one", "-w", str(tmp_path / "none" / "f"), "--seconds", "1")
    assert (outcome.code, outcome.err) == (1, f"hawser: {tmp_path}/none/f: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []
