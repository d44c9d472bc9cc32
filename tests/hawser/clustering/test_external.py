"""Two machines use one etcd that others run: both are listed, and each has its own networks and containers."""

import io
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from hawser.labs import Process
from hawser.store.cluster import certificates
from hawser.store.cluster.certificates import Authority, Profile, Subject
from tests.hawser.conftest import busybox
from tests.store.cluster.local_etcd import needs_etcd
from tests.wait import until

from .fleet import UNIT, Fleet, Machine, fleet

pytestmark = [pytest.mark.root, needs_etcd]
NOW = time.time()


@pytest.fixture
def pair() -> Iterator[Fleet]:
    """Two machines, and a third host for etcd."""
    with fleet(3, "ext") as made:
        yield made


@contextmanager
def etcd(machine: Machine, tls: list[str] | None = None) -> Iterator[tuple[str, Process]]:
    """An etcd of somebody else's on a host; its URL."""
    scheme = "https" if tls else "http"
    client, peer = f"{scheme}://{machine.ip}:2379", f"http://{machine.ip}:2380"
    words = ["etcd", "--data-dir", str(machine.host.path / "etcd"), "--logger", "zap", "--log-outputs", "stderr"]
    words += ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
    words += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", *(tls or [])]
    process = machine.host.start(words, name="etcd")
    until(lambda: b"serving " in process.log.read_bytes(), timeout=20, what="etcd")
    yield client, process
    process.kill()


def ctl(machine: Machine, *words: str) -> None:
    env = os.environ | {"ETCDCTL_API": "3"}
    command = ["etcdctl", "--endpoints", f"http://{machine.ip}:2379", *words]
    asked = machine.host.popen(command, env=env, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1)
    out, err = asked.communicate(timeout=20)
    assert asked.returncode == 0, (out, err)


def test_two_machines_on_one_etcd(pair: Fleet) -> None:
    one, two, server = pair.machines
    with etcd(server) as (url, process):
        store = url.replace("http://", "etcd://")
        one.up("up", "--store", store)
        two.up("up", "--store", store)
        until(lambda: len(one.machines()) == 2, what="both machines")
        assert set(one.machines()) == {one.id, two.id}
        assert one.status()["cluster"] == two.status()["cluster"] is not None

        one.client.post("/v1/networks", {"tenant": "t", "name": "n", "subnets": ["192.168.77.0/24"]})
        for machine in (one, two):
            machine.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
            body = {"image": "busybox", "argv": ["/bin/sleep", "1000"], "name": "c", "tenant": "t", "network": "n"}
            machine.client.post("/v1/containers", body)
        for machine in (one, two):
            (found,) = machine.client.get("/v1/containers")
            assert len(machine.client.get("/v1/networks")) == 1
            assert found["state"] == "running"
        page = {"image": "busybox", "argv": ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/bin"], "name": "page"}
        one.client.post("/v1/containers", page | {"tenant": "t", "network": "n"})
        (interface,) = one.client.get("/v1/containers/page")["interfaces"]
        address = interface["addresses"][0].split("/")[0]
        fetch = [
            "/bin/sh",
            "-c",
            f"printf 'GET /nothing HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 1 {address} 80 | grep 404",
        ]
        ask = "/v1/containers/c/exec"
        until(
            lambda: two.client.post(ask, {"argv": fetch})["code"] == 0,
            what="a page of a container on the other machine",
        )
        one.client.delete("/v1/containers/page", force=1)
        before = two.client.get("/v1/containers/c")["pid"]
        one.client.put("/v1/units/u.service", {"text": UNIT})
        one.client.post("/v1/units/u.service/start")
        until(lambda: two.unit("u.service").get("active") == "active", timeout=10, what="the unit, seen by the other")

        two.stop()
        two.up()
        assert two.client.get("/v1/containers/c")["pid"] == before, "a restart needs no option and stops nothing"

        told = two.client.get("/v1/units/u.service")["machine"]
        gone, stays = (one, two) if told == one.id else (two, one)
        gone.leave()
        assert stays.client.get("/v1/networks")
        assert stays.client.get("/v1/containers")
        until(lambda: len(stays.sleepers()) == 1, timeout=10, what="the unit on the other machine")
        assert list(stays.machines()) == [stays.id]

        stays.stop()
        other = stays.refused("up", "--cluster-init", "1")
        assert (other.code, "cannot found another" in other.err) == (4, True)
        process.kill()
        process.wait()
        shutil.rmtree(server.host.path / "etcd")
        with etcd(server):
            other = stays.refused("up")
            assert other.code == 4
            assert "is of no cluster" in other.err


def test_own_data_is_not_left_behind(pair: Fleet) -> None:
    machine, _, server = pair.machines
    machine.up()
    assert machine.hawser("kv", "put", "mine", "1").code == 0
    machine.stop()
    with etcd(server) as (url, _):
        told = machine.refused("up", "--store", url)
        assert told.code == 4
        assert "hawser kv migrate" in told.err


def test_an_etcd_with_certificates(pair: Fleet) -> None:
    machine, _, server = pair.machines
    ca = certificates.new_authority("theirs", now=NOW, serial=1)
    (server.host.path / "ca.pem").write_bytes(ca.certificate)
    theirs, ours = issued(ca, server, "server"), issued(ca, server, "client")
    ca_file = str(server.host.path / "ca.pem")
    tls = ["--cert-file", theirs, "--key-file", theirs, "--trusted-ca-file", ca_file, "--client-cert-auth"]
    options = ["--store-cacert", ca_file, "--store-cert", ours, "--store-key", ours]
    with etcd(server, tls) as (url, _):
        told = machine.refused("up", "--store", url, "--store-cacert", ca_file)
        assert told.code == 5
        assert url in told.err
        machine.up("up", "--store", url, *options)
        machine.stop()
        machine.up()
        assert machine.status()["store"] == url
        machine.leave()


def test_an_etcd_with_users(pair: Fleet) -> None:
    machine, _, server = pair.machines
    with etcd(server) as (url, _):
        for words in (("user", "add", "root:secret"), ("user", "grant-role", "root", "root"), ("auth", "enable")):
            ctl(server, *words)
        options = ("up", "--store", url, "--store-user", "root")
        for password in ("", "wrong"):
            told = machine.refused(*options, HAWSER_STORE_PASSWORD=password)
            assert told.code in (2, 6)
        machine.up(*options, HAWSER_STORE_PASSWORD="secret")
        machine.stop()
        kept = machine.data / "cluster" / "etcd.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        machine.up()
        machine.leave()


def issued(ca: Authority, machine: Machine, name: str) -> str:
    """A certificate and its key in one file."""
    subject = Subject(cluster="theirs", machine=name, addresses=(ip_address(machine.ip),), profile=Profile.MACHINE)
    key = certificates.new_key()
    path = Path(machine.host.path / f"{name}.pem")
    csr = certificates.request(key, subject)
    path.write_bytes(certificates.issue(ca, csr, subject, now=NOW, serial=2) + key)
    return str(path)
