"""Names across machines: what is attached anywhere is found by its name everywhere its networks lead."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.demo import probes
from tests.hawser.conftest import busybox
from tests.store.cluster.local_etcd import needs_etcd
from tests.wait import until

from .fleet import Fleet, Machine, fleet
from .test_external import etcd

pytestmark = [pytest.mark.root, needs_etcd]
SLEEP = ["/bin/sleep", "1000000"]


@pytest.fixture
def pair() -> Iterator[Fleet]:
    """Two machines, and a third host for etcd."""
    with fleet(3, "nam") as made:
        yield made


def start(machine: Machine, name: str, network: str = "n") -> tuple[str, Path]:
    """A container of tenant t; its IPv4 address and its namespace."""
    body = {"image": "busybox", "argv": SLEEP, "name": name, "tenant": "t", "network": network}
    made = machine.client.post("/v1/containers", body)["id"]
    found = machine.client.get(f"/v1/containers/{made}")
    return found["interfaces"][0]["addresses"][0].split("/")[0], Path(found["netns"])


def count(where: Path, gateway: str, name: str) -> tuple[int, int]:
    """The answer's code and how many addresses a name has, asked in a container's namespace."""
    return probes.resolve(where, gateway, f"{name}.t.mesh.internal")


def test_names_of_containers_hold_on_every_machine(pair: Fleet) -> None:
    one, two, server = pair.machines
    with etcd(server) as (url, _):
        for machine in (one, two):
            machine.up("up", "--store", url.replace("http://", "etcd://"))
            machine.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
        for network, subnet in (("n", "10.77.0.0/24"), ("far", "10.78.0.0/24")):
            one.client.post("/v1/networks", {"tenant": "t", "name": network, "subnets": [subnet]})
        _, here = start(one, "asks")
        start(two, "db")
        until(lambda: count(here, "10.77.0.1", "db") == (0, 1), what="the other machine's container by its name")
        shell = ["/bin/sh", "-c", "busybox nslookup db.t.mesh.internal | grep 10.77.0."]
        assert one.client.post("/v1/containers/asks/exec", {"argv": shell})["code"] == 0

        told = one.hawser("policy", "explain", "asks", "db", "80")
        assert told.out.splitlines()[-1].startswith("ALLOWED"), told.err

        start(one, "db")
        until(lambda: count(here, "10.77.0.1", "db") == (0, 2), what="both that have the name")
        one.client.delete("/v1/containers/db", force=1)
        until(lambda: count(here, "10.77.0.1", "db") == (0, 1), what="the one that is left")

        two.client.post("/v1/containers/db/kill", {"signal": "KILL"})
        until(lambda: count(here, "10.77.0.1", "db") == (3, 0), what="the name gone with the container's end")
        two.client.post("/v1/containers/db/start")
        until(lambda: count(here, "10.77.0.1", "db") == (0, 1), what="the name again")

        start(two, "hidden", "far")
        start(two, "shown")
        until(lambda: count(here, "10.77.0.1", "shown") == (0, 1), what="a later name")
        assert count(here, "10.77.0.1", "hidden") == (0, 0), "no router joins its network to this one"
        assert one.hawser("net", "router", "create", "-t", "t", "--network", "n", "--network", "far", "r").code == 0
        until(lambda: count(here, "10.77.0.1", "hidden") == (0, 1), what="the name of a joined network")

        sleeper = two.host.popen(["unshare", "--net", *SLEEP])
        try:
            attached = two.hawser("net", "attach", "-t", "t", "-n", "n", "--pid", str(sleeper.pid), "--name", "plain")
            assert attached.code == 0, attached.err
            until(lambda: count(here, "10.77.0.1", "plain") == (0, 1), what="the process by its name")
        finally:
            sleeper.kill()
            sleeper.wait()
        until(lambda: count(here, "10.77.0.1", "plain") == (3, 0), what="its name gone with it")
        assert one.client.get("/v1/plan") == two.client.get("/v1/plan") == []
