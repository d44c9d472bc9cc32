"""A link of the host's as a port of a tenant's network: lent, and given back as it was."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hawser.demo import probes
from hawser.faults import Fault
from hawser.netd.drivers import netns
from tests.hawser.conftest import NodeProcess, Outcome
from tests.wait import until

pytestmark = pytest.mark.root

MAC = "02:00:00:00:00:99"
HTTPD = ("/bin/httpd", "-f", "-p", "80", "-h", "/www")


def ip(*words: str, where: Path | None = None) -> str:
    command = ["nsenter", f"--net={where}"] if where else []
    return subprocess.run([*command, "ip", *words], check=True, capture_output=True, text=True, timeout=10).stdout


def links(where: Path | None = None) -> dict[str, Any]:
    return {each["ifname"]: each for each in json.loads(ip("-j", "-d", "address", where=where))}


def plain(name: str = "tovm") -> dict[str, Any]:
    """What a link of the host is, as far as lending it could change that."""
    link = links()[name]
    found = {key: link.get(key) for key in ("mtu", "address", "ifalias", "master")}
    up = "UP" in link["flags"]
    return found | {"up": up, "addresses": sorted(a["local"] for a in link["addr_info"] if a["scope"] == "global")}


@pytest.fixture
def blue(clean: NodeProcess) -> Iterator[NodeProcess]:
    """The node with tenant blue's network web, a container on it that serves a page."""
    made = clean.hawser("net", "create", "-t", "blue", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64", "web")
    assert made.code == 0, made.err
    clean.hawser("run", "-d", "-t", "blue", "--net", "web", "--ip", "10.7.0.5", "--name", "page", "busybox", *HTTPD)
    yield clean
    if not (clean.process and clean.process.poll() is None):
        clean.start()
    for one in attached(clean):
        with suppress(Fault):
            clean.client.delete(f"/v1/attachments/{one['sandbox']}/{one['ifname']}")


def attached(node: NodeProcess) -> list[Any]:
    found: list[Any] = node.client.get("/v1/attachments", owner="attach")
    return found


@pytest.fixture
def appliance(rundir: Path) -> Iterator[Path]:
    """What is behind the host's link `tovm`: a namespace with one interface, 10.7.0.9 and MAC."""
    path = rundir / "vm"
    netns.create_here(path, netns.lo_up)
    ip("link", "add", "tovm", "mtu", "1400", "type", "veth", "peer", "name", "eth0", "netns", str(path))
    ip("link", "set", "tovm", "alias", "the appliance", "up")
    ip("address", "add", "192.0.2.1/24", "dev", "tovm")
    ip("address", "add", "2001:db8::1/64", "dev", "tovm", "nodad")
    for words in (
        f"link set eth0 address {MAC} up",
        "address add 10.7.0.9/24 dev eth0",
        "address add fd07::9/64 dev eth0 nodad",
        "route add default via 10.7.0.1",
    ):
        ip(*words.split(), where=path)
    yield path
    if "tovm" in links():
        ip("link", "delete", "tovm")
    netns.remove(path)


def lend(node: NodeProcess, *options: str, name: str = "tovm") -> Outcome:
    wanted = ("--ip", "10.7.0.9", "--ip", "fd07::9", "--mac", MAC, "--name", "vm")
    return node.hawser("net", "attach", "-t", "blue", "-n", "web", "--interface", name, *wanted, *options)


def tenant(node: NodeProcess) -> Path:
    return node.directory / "run" / "tenants" / "blue"


def fetches(appliance: Path, address: str = "10.7.0.5") -> bool:
    return probes.http(appliance, address, 80) == "ahoy\n"


def test_a_link_is_a_port_and_given_back_as_it_was(blue: NodeProcess, appliance: Path) -> None:
    before = plain()
    made = lend(blue, "-p", "8091:80")
    assert made.code == 0, made.err
    assert made.out.split() == ["vm", "tovm", "10.7.0.9/24", "fd07::9/64", MAC]
    assert "tovm" not in links()
    until(lambda: fetches(appliance), what="the container's page, from behind the link")
    assert blue.client.get("/v1/plan") == []
    (shown,) = json.loads(blue.hawser("net", "attachments", "--json").out)
    assert (shown["source"], shown["trouble"]) == ("link:tovm", "")
    page = Path(blue.client.get("/v1/containers/page")["netns"])
    assert probes.resolve(page, "10.7.0.1", "vm.blue.mesh.internal") == (0, 1)
    server = subprocess.Popen(["nsenter", f"--net={appliance}", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc"])
    try:
        until(lambda: probes.reaches(None, "127.0.0.1", 8091), what="the published port")
    finally:
        server.kill()
        server.wait()
    gone = blue.hawser("net", "detach", "vm")
    assert gone.code == 0, gone.err
    assert plain() == before
    assert attached(blue) == []
    assert blue.client.get("/v1/plan") == []
    assert lend(blue).code == 0, "and again"


def test_only_what_is_declared_gets_through(blue: NodeProcess, appliance: Path) -> None:
    assert lend(blue).code == 0
    until(lambda: fetches(appliance), what="the page")
    ip("address", "add", "10.7.0.66/24", "dev", "eth0", where=appliance)
    ip("route", "add", "10.7.0.5/32", "dev", "eth0", "src", "10.7.0.66", where=appliance)
    assert not probes.reaches(appliance, "10.7.0.5", 80), "another's address"
    ip("address", "delete", "10.7.0.66/24", "dev", "eth0", where=appliance)
    until(lambda: fetches(appliance), what="the page by its own address")
    ip("link", "set", "eth0", "address", "02:00:00:00:00:98", where=appliance)
    assert not probes.reaches(appliance, "10.7.0.5", 80), "another's MAC"


def test_a_lent_link_outlives_the_node(blue: NodeProcess, appliance: Path) -> None:
    before = plain()
    assert lend(blue).code == 0
    blue.kill(signal.SIGKILL)
    blue.start()
    assert blue.client.get("/v1/plan") == []
    assert fetches(appliance)
    assert blue.hawser("net", "detach", "vm").code == 0
    assert plain() == before


def test_drift_is_repaired_and_nothing_foreign_is_deleted(blue: NodeProcess, appliance: Path) -> None:
    assert lend(blue).code == 0
    there = links(tenant(blue)).items()
    name = next(name for name, each in there if each.get("ifalias", "").startswith("hawser-borrowed:"))
    ip("link", "set", name, "nomaster", where=tenant(blue))
    ip("link", "set", name, "down", where=tenant(blue))
    assert [step["key"] for step in blue.client.get("/v1/plan")] == ["port:vm:tovm"]
    nudge(blue)
    until(lambda: fetches(appliance), what="the repair")


def test_a_link_that_goes_is_attached_when_it_comes_again(blue: NodeProcess) -> None:
    """As a virtual machine's tap does."""
    with tap():
        assert lend(blue, name="tap7").code == 0
    nudge(blue)
    until(lambda: attached(blue)[0]["trouble"] != "", what="its loss being told")
    assert "tap7" in attached(blue)[0]["trouble"]
    with tap():
        until(lambda: "tap7" not in links() or nudge(blue), timeout=40, what="the new one taken")
        until(lambda: attached(blue)[0]["trouble"] == "", what="all well")
    assert blue.hawser("net", "detach", "vm").code == 0
    assert blue.client.get("/v1/plan") == []


def nudge(node: NodeProcess) -> bool:
    """Have the node look: a change of the records does. False, for who asks again."""
    node.put_key("/hawser/netd/nudge")
    node.delete_keys("/hawser/netd/nudge")
    return False


@contextmanager
def tap(name: str = "tap7") -> Iterator[int]:
    """A tap of a program, which goes when the program lets go of it (tuntap.rst)."""
    import fcntl
    import struct

    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
        yield device
    finally:
        os.close(device)


def test_the_node_that_leaves_gives_everything_back(rundir: Path, appliance: Path) -> None:
    directory = rundir / "node"
    directory.mkdir()
    node, before = NodeProcess(directory), plain()
    node.start()
    node.client.post("/v1/networks", {"tenant": "blue", "name": "web", "subnets": ["10.7.0.0/24", "fd07::/64"]})
    assert lend(node).code == 0
    node.leave()
    assert plain() == before


def test_a_tenant_goes_after_its_lent_links_only(blue: NodeProcess, appliance: Path) -> None:
    assert lend(blue).code == 0
    blue.hawser("rm", "-f", "page")
    ip("link", "add", "tovm", "type", "veth", "peer", "name", "tovm-peer")
    refused = blue.hawser("net", "detach", "vm")
    assert refused.code == 4, refused
    assert "tovm" in refused.err
    ip("link", "delete", "tovm")
    until(lambda: "tovm" in links() or nudge(blue), timeout=40, what="the link given back under its name")
    until(lambda: plain()["ifalias"] == "the appliance", what="all of it as it was")
    assert plain()["addresses"] == ["192.0.2.1", "2001:db8::1"]
    until(lambda: blue.client.get("/v1/plan") == [], what="nothing left to do")


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("lo", 2, "loopback"),
        ("nosuch", 3, "nosuch"),
        ("tovm", 2, "MAC"),
        ("br7", 2, "bridge"),
        ("member", 4, "br7"),
        ("wayout", 4, "default route"),
        ("uplink", 4, "own"),
    ],
)
def test_what_the_host_cannot_do_without_is_refused(
    blue: NodeProcess, appliance: Path, name: str, code: int, word: str
) -> None:
    commands = (
        "link add br7 type bridge",
        "link add member master br7 type veth peer name member-peer",
        "link add wayout up type veth peer name wayout-peer",
        "link set wayout-peer up",
        "address add 198.51.100.2/24 dev wayout",
        "route add default via 198.51.100.1 dev wayout",
    )
    try:
        for command in commands:
            ip(*command.split())
        if name == "uplink":
            name = next(each for each in links() if each.startswith("hwu"))
        mac = () if word == "MAC" else ("--mac", MAC)
        refused = blue.hawser("net", "attach", "-t", "blue", "-n", "web", "--interface", name, *mac)
        assert (refused.code, len(refused.err.splitlines())) == (code, 1), refused
        assert word in refused.err
    finally:
        for each in {"member", "br7", "wayout"} & links().keys():
            ip("link", "delete", each)
    assert attached(blue) == []
    assert blue.client.get("/v1/plan") == []


def test_one_link_is_one_port(blue: NodeProcess, appliance: Path) -> None:
    assert lend(blue).code == 0
    twice = blue.hawser("net", "attach", "-t", "blue", "-n", "web", "--interface", "tovm", "--mac", "02:00:00:00:00:01")
    assert (twice.code, len(twice.err.splitlines())) == (4, 1), twice
    assert "vm" in twice.err
    assert fetches(appliance)
