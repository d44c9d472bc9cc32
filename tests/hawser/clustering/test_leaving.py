"""A cluster of one member moves to another machine, and never away from machines that need it."""

import pytest

from hawser.store.cluster.drivers.home import Home
from tests.store.cluster.local_etcd import needs_etcd
from tests.wait import until

from .fleet import UNIT, fleet
from .test_founding import expire

pytestmark = [pytest.mark.root, needs_etcd]


def test_the_only_member_leaves_when_another_machine_can_take_over() -> None:
    with fleet(3, "leave") as made:
        first, client, able = made.machines
        first.up("up", "--cluster-init", "1")
        client.up("join", first.token("--client"))
        first.client.put("/v1/units/u.service", {"text": UNIT + f"[X-Fleet]\nMachineID={first.id}\n"})
        first.client.post("/v1/units/u.service/start")
        until(lambda: len(first.sleepers()) == 1, timeout=10, what="the unit")

        told = first.hawser("node", "leave", "--yes")
        assert told.code == 4
        assert "another machine uses this one's etcd member" in told.err
        assert len(first.sleepers()) == 1, "nothing has changed"
        assert not first.machines()[first.id]["draining"]

        able.up("join", first.token())
        first.leave()
        assert able.voters() == {able.id}
        until(lambda: set(client.machines_or_none()) == {client.id, able.id}, timeout=15, what="the client's way there")
        until(lambda: not client.unit("u.service").get("machine"), timeout=10, what="a unit that may run nowhere")

        client.stop()
        home = Home(client.data / "cluster")
        expire(home, Home(able.data / "cluster").authority())
        told = client.refused("up")
        assert told.code == 5
        assert "join again" in told.err
        client.up("join", able.token("--client"))
        assert client.status()["failures"] == []
