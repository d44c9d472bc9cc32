"""`hawser demo` from the outside: every claim holds, and the machine is as it was."""

import json
import subprocess
from pathlib import Path

import pytest

from hawser.demo.report import Report
from hawser.netd.drivers.netlink import Netlink
from tests.hawser.conftest import HAWSER

pytestmark = pytest.mark.root


def links() -> set[str]:
    with Netlink() as kernel:
        return {link.name for link in kernel.links()}


def test_every_claim_holds_and_nothing_is_left() -> None:
    before = links(), set(Path("/tmp").glob("hawser-demo-*"))
    answer = subprocess.run([HAWSER, "demo", "--json"], capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    document = json.loads(answer.stdout)
    assert document["ok"]
    assert len(document["claims"]) >= 25
    assert all(claim["held"] for claim in document["claims"])
    assert document["seconds"] < 30
    assert (links(), set(Path("/tmp").glob("hawser-demo-*"))) == before


def test_a_claim_that_does_not_hold_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    assert not report.held()
    report.claim("water is wet", True)
    assert report.held()
    report.claim("pigs fly", None, "0 seen")
    assert not report.held()
    report.finish()
    assert "1 did NOT hold" in capsys.readouterr().out
