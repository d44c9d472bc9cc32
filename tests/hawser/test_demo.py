"""`hawser demo` from the outside: every claim holds, and the machine is as it was."""

import json
import subprocess
from pathlib import Path

import pytest

from hawser.demo.report import Report
from tests.hawser.conftest import HAWSER, NodeProcess
from tests.store.cluster.local_etcd import needs_etcd

pytestmark = pytest.mark.root


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def machine() -> dict[str, object]:
    """What the demo must leave alone: links, addresses, routes, rules, mounts, switches, files."""
    conf = (
        "ipv4/ip_forward",
        "ipv6/conf/all/forwarding",
        "ipv4/conf/all/route_localnet",
        "ipv4/ip_unprivileged_port_start",
    )
    return {
        "links": output("ip", "link"),
        "addresses": output("ip", "-o", "-4", "address"),
        "routes": output("ip", "route", "show", "table", "all"),
        "rules": output("nft", "list", "ruleset"),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "switches": [Path("/proc/sys/net", name).read_text() for name in conf],
        "files": sorted(Path("/tmp").glob("hawser-demo-*")),
    }


def test_every_claim_holds_and_nothing_of_the_machine_is_touched(node: NodeProcess) -> None:
    output(
        "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"
    )
    output("ip", "link", "add", "docker0", "type", "bridge")
    try:
        body = {"image": "busybox", "name": "other", "argv": ["/bin/sleep", "1000000"]}
        node.client.post("/v1/containers", body)
        pid, before = node.client.get("/v1/containers/other")["pid"], machine()
        answer = subprocess.run([HAWSER, "demo", "--json"], capture_output=True, text=True, timeout=100, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert machine() == before
        assert node.client.get("/v1/containers/other")["pid"] == pid
        assert node.client.get("/v1/plan") == []
    finally:
        output("ip", "link", "delete", "docker0")
        output("nft", "delete table ip filter")
    document = json.loads(answer.stdout)
    assert document["ok"]
    assert len(document["claims"]) >= 30
    assert all(claim["held"] for claim in document["claims"])
    assert document["seconds"] < 30


@needs_etcd
def test_a_cluster_of_three_machines_is_shown_and_nothing_of_the_machine_is_touched() -> None:
    before = machine()
    answer = subprocess.run(
        [HAWSER, "demo", "--cluster", "--json"], capture_output=True, text=True, timeout=100, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert machine() == before
    document = json.loads(answer.stdout)
    assert document["ok"]
    assert len(document["claims"]) == 9


def test_a_claim_that_does_not_hold_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    assert not report.held()
    report.claim("water is wet", True)
    assert report.held()
    report.claim("pigs fly", None, "0 seen")
    assert not report.held()
    report.finish()
    assert "1 did NOT hold" in capsys.readouterr().out
