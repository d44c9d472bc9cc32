"""Two machines with an encrypted network, by the command line: containers meet, nothing is on the wire in the clear."""

import io
import socket
from collections.abc import Iterator

import pytest

from hawser.labs import Process
from hawser.netd.model import SEALED_PORT, VXLAN_PORT
from tests.hawser.conftest import busybox
from tests.netd.wireguard.wire import WIREGUARD, udp_port
from tests.store.cluster.local_etcd import needs_etcd
from tests.wait import until

from .fleet import Fleet, Machine, fleet
from .test_external import etcd

pytestmark = [pytest.mark.root, needs_etcd]
ARGV = ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/bin"]


@pytest.fixture
def pair() -> Iterator[tuple[Fleet, Process]]:
    """Two machines, and a third host for etcd."""
    with fleet(3, "enc") as made, etcd(made[2]) as (url, process):
        for machine in made.machines[:2]:
            machine.up("up", "--store", url.replace("http://", "etcd://"))
        until(lambda: len(made[0].machines()) == 2, what="both machines")
        yield made, process
        for machine in made.machines[:2]:
            machine.leave()


def ran(machine: Machine, *words: str) -> str:
    done = machine.hawser(*words)
    assert (done.code, done.err) == (0, ""), done
    return done.out


def test_containers_on_two_machines_meet_on_an_encrypted_network(pair: tuple[Fleet, Process]) -> None:
    one, two = pair[0].machines[:2]
    ran(one, "net", "create", "-t", "t", "n", "--encrypted", "--subnet", "192.168.77.0/24")
    listed = ran(two, "net", "ls")
    assert [line.split()[-1] for line in listed.splitlines()] == ["ENCRYPTED", "yes"], listed
    for machine in (one, two):
        machine.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
        body = {"image": "busybox", "argv": ARGV, "name": "c", "tenant": "t", "network": "n"}
        machine.client.post("/v1/containers", body)
    (interface,) = one.client.get("/v1/containers/c")["interfaces"]
    address = interface["addresses"][0].split("/")[0]
    page = f"printf 'GET /nothing HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 1 {address} 80 | grep 404"
    fetch = {"argv": ["/bin/sh", "-c", page]}
    tap = two.host.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    with tap:
        tap.setblocking(False)
        ask = "/v1/containers/c/exec"
        until(lambda: two.client.post(ask, fetch)["code"] == 0, what="a page of the other machine", timeout=30)
        ports = [udp_port(frame) for frame in frames(tap)]
    assert {*WIREGUARD} & {*ports}
    assert not {VXLAN_PORT, SEALED_PORT} & {*ports}, "inside WireGuard's interfaces a packet has no Ethernet header"
    assert two.status()["failures"] == []
    kept = two.data / "wireguard.key"
    assert kept.stat().st_mode & 0o777 == 0o600
    ran(one, "net", "set", "-t", "t", "n", "--insecure")
    assert one.client.get("/v1/networks/t/n")["insecure"] is True
    refused = one.hawser("net", "set", "-t", "t", "n")
    assert refused.code == 2
    ran(one, "net", "set", "-t", "t", "n", "--no-encrypted")
    assert one.client.get("/v1/networks/t/n")["encrypted"] is False
    until(lambda: two.client.post(ask, fetch)["code"] == 0, what="a page in the clear", timeout=30)


def frames(tap: socket.socket) -> Iterator[bytes]:
    """What a tap has taken, on whichever interface of the host."""
    while True:
        try:
            yield tap.recv(1 << 16)
        except BlockingIOError:
            return
