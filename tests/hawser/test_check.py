"""What `hawser check` finds out by doing it."""

import json
import subprocess

import pytest

from hawser.check import PROBES, findings, findings_apart, forwarding
from hawser.cli import run
from hawser.netd.wireguard.drivers import probe as probing
from hawser.netd.wireguard.drivers.probe import in_kernel

DROP = "{ type filter hook forward priority 0; policy drop; }"


def test_every_part_is_probed_apart_and_explained() -> None:
    found = list(findings())
    assert [finding.part for finding in found] == [part for part, *_ in PROBES]
    assert all(finding.missing is None or finding.missing.strip() for finding in found)


def test_a_probe_that_raises_or_dies_counts_as_missing() -> None:
    import os

    from hawser import check

    def raises() -> str | None:
        raise ValueError("because")

    def dies() -> str | None:
        os._exit(3)

    assert check._in_child(raises) == "ValueError: because"
    assert check._in_child(dies) == "the probe died"


@pytest.mark.root
def test_this_machine_has_what_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--json"]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert all(d["missing"] is None for d in documents if d["required"])


@pytest.mark.root
def test_which_wireguard_there_is_is_told_with_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    found = next(finding for finding in findings() if finding.part == "wireguard")
    if in_kernel():
        assert (found.missing, found.found) == (None, "the kernel's: cheap")
    else:
        assert (found.missing, found.found) == (None, "wireguard-go: costly, every packet passes a process")
    run(["check"])
    assert (found.found or "?") in capsys.readouterr().out


def test_without_wireguard_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "the kernel has no WireGuard and wireguard-go is not installed; install wireguard-go"
    monkeypatch.setattr(probing, "probe", lambda: probing.Found(flavour=None, reason=reason))
    found = next(finding for finding in findings() if finding.part == "wireguard")
    assert (found.missing, found.found) == (reason, None)


@pytest.mark.root
def test_a_firewall_that_drops_what_is_forwarded_is_named() -> None:
    assert forwarding() is None
    subprocess.run(["nft", f"add table ip filter; add chain ip filter FORWARD {DROP}"], check=True)
    try:
        assert "ip filter FORWARD" in (forwarding() or "")
    finally:
        subprocess.run(["nft", "delete table ip filter"], check=True)


def test_a_process_with_threads_asks_a_fresh_interpreter() -> None:
    assert [finding.part for finding in findings_apart()] == [part for part, *_ in PROBES]
