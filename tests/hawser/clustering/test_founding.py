"""One machine founds a cluster: what it has comes along, it may be killed at any moment, and it ends with it."""

import io
import json
import random
import time
from collections.abc import Iterator

import pytest

from hawser.faults import Fault
from hawser.store.cluster import certificates
from hawser.store.cluster.certificates import DAY, Authority
from hawser.store.cluster.drivers.home import Home
from tests.hawser.conftest import busybox
from tests.store.cluster.local_etcd import needs_etcd
from tests.wait import until

from .fleet import UNIT, Fleet, Machine, fleet

pytestmark = [pytest.mark.root, needs_etcd]
SEED, KILLS, LATEST = 20240611, 8, 1.6


@pytest.fixture
def two() -> Iterator[Fleet]:
    with fleet(2, "two") as made:
        yield made


def keys(machine: Machine) -> dict[str, str]:
    """What a user keeps in the store."""
    lines = machine.hawser("kv", "get", "--prefix", "mine/").out.splitlines()
    return dict(zip(lines[::2], lines[1::2], strict=True))


def fill(machine: Machine) -> None:
    for number in range(4):
        assert machine.hawser("kv", "put", f"mine/{number}", str(number)).code == 0


def test_all_of_its_own_store_comes_along_and_nothing_stops(two: Fleet) -> None:
    machine = two[0]
    machine.up()
    client = machine.client
    client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
    client.post("/v1/networks", {"tenant": "t", "name": "n", "subnets": ["192.168.77.0/24"]})
    client.post(
        "/v1/containers",
        {"image": "busybox", "argv": ["/bin/sleep", "1000"], "name": "c", "tenant": "t", "network": "n"},
    )
    client.put("/v1/units/u.service", {"text": UNIT})
    client.post("/v1/units/u.service/start")
    until(lambda: machine.unit("u.service").get("active") == "active", what="the unit")
    assert machine.hawser("kv", "put", "mine/1", "one").code == 0
    before = (client.get("/v1/containers/c")["pid"], client.get("/v1/networks"), machine.sleepers(), keys(machine))
    assert before[3] == {"mine/1": "one"}
    machine.stop()

    told = machine.refused("join", other_cluster(two[1]))
    assert told.code == 4
    assert "that the cluster would not get" in told.err
    machine.up("up", "--cluster-init", "1")

    assert (
        client.get("/v1/containers/c")["pid"],
        client.get("/v1/networks"),
        machine.sleepers(),
        keys(machine),
    ) == before
    until(lambda: machine.unit("u.service").get("active") == "active", what="the unit")
    until(lambda: client.get("/v1/plan") == [], what="nothing to do")
    assert not (machine.data / "store").exists()
    assert len(list(machine.data.glob("store.moved-*"))) == 1, "kept aside"
    assert set(machine.machines()) == {machine.id}

    machine.leave()
    assert machine.sleepers() == []
    assert not (machine.data / "cluster").exists()
    machine.up()
    assert client.get("/v1/units") == client.get("/v1/networks") == client.get("/v1/containers", all=1) == []
    machine.leave()


def other_cluster(machine: Machine) -> str:
    machine.up("up", "--cluster-init", "1")
    return machine.token()


def test_killed_at_any_moment_it_goes_on_when_it_is_started_again(two: Fleet) -> None:
    machine, chance = two[0], random.Random(SEED)
    machine.up()
    fill(machine)
    before = keys(machine)
    machine.stop()
    words: tuple[str, ...] = ("up", "--cluster-init", "3")
    for _ in range(KILLS):
        process = machine.begin(*words)
        moment = time.monotonic() + chance.uniform(0.3, LATEST)
        while process.running and time.monotonic() < moment:
            if (machine.data / "cluster" / "cluster.json").exists() and not founding(machine):
                words = ("up",)  # it is founded: to found it again would be another
                break
            time.sleep(chance.uniform(0, 0.01))
        assert process.running, machine.log()
        machine.kill()
    if not founding(machine) and (machine.data / "cluster" / "cluster.json").exists():
        words = ("up",)
    machine.up(*words)
    assert keys(machine) == before
    assert machine.voters() == {machine.id}
    clusters = {line.split()[3] for line in machine.log().splitlines() if "is founded" in line}
    assert clusters <= {machine.status()["cluster"]}
    assert json.loads(machine.etcdctl("get", "/hawser/cluster/id", "--print-value-only"))["members"] == 3


def founding(machine: Machine) -> bool:
    return (machine.data / "cluster" / "founding.json").exists()


def test_what_cannot_be_founded(two: Fleet) -> None:
    machine = two[0]
    for words, said in (
        (("--address", "10.99.0.1"), "this machine has none such"),
        (("--address", "127.0.0.1"), "other machines do not reach this one there"),
        (("--address", "0.0.0.0"), "other machines do not reach this one there"),
    ):
        told = machine.refused("up", "--cluster-init", "3", *words)
        assert told.code == 2
        assert said in told.err
    told = machine.refused("up", "--cluster-init", "3", PATH="/nowhere")
    assert told.code == 5
    assert "there is no program etcd: install it (etcd-server)" in told.err
    assert not (machine.data / "cluster").exists()
    assert not (machine.data / "store").exists()
    machine.up()
    with pytest.raises(Fault, match="of no cluster"):
        machine.client.post("/v1/tokens", {})
    machine.leave()


def test_all_machines_were_off_for_longer_than_their_certificates_last(two: Fleet) -> None:
    machine = two[0]
    machine.up("up", "--cluster-init", "1")
    fill(machine)
    machine.host.crash()
    expire(Home(machine.data / "cluster"))
    old = machine.certificate()
    machine.up()
    assert machine.certificate() != old
    assert len(keys(machine)) == 4
    assert "had expired" in machine.log()
    machine.leave()


def expire(home: Home, authority: Authority | None = None) -> None:
    """A certificate that ended a day ago, in place of the one there is."""
    authority = authority or home.authority()
    assert authority is not None
    key, subject, then = certificates.new_key(), certificates.subject_of(home.identity()), time.time() - 8 * DAY
    csr = certificates.request(key, subject)
    home.save_identity(certificates.issue(authority, csr, subject, now=then, serial=1), key, home.ca.read_bytes())
