"""`hawser lab`: what it prints and the exit codes a script relies on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hawser.cli import run as hawser
from hawser.labs import Lab, labs

RUN = [sys.executable, "-c", "import sys; from hawser.main import main; sys.exit(main())", "lab"]


def lab(verb: str, rundir: Path, *words: str) -> int:
    return hawser(["lab", verb, "--run", str(rundir), *words])


@pytest.mark.root
def test_up_use_and_down(rundir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert lab("up", rundir, "--name", "a", "--topo", "linear,2", "--mac") == 0
    assert lab("ls", rundir, "--json") == 0
    assert json.loads(capfd.readouterr().out.removeprefix("a\n")) == [
        {"name": "a", "state": "up", "shape": "linear,2", "hosts": 2, "switches": 2}
    ]
    assert lab("show", rundir, "a", "--json") == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["hosts"][1] == {"name": "h2", "address": "10.0.0.2/8", "mac": "00:00:00:00:00:02"}
    assert ["s2-eth2", "s1-eth2"] in shown["links"]
    assert lab("pingall", rundir, "a") == 0
    assert "*** Results: 0% dropped (2/2 received)" in capfd.readouterr().out
    assert lab("up", rundir, "--name", "a") == 4
    assert capfd.readouterr().err == "hawser: lab a exists; remove it: hawser lab down a\n"
    assert lab("down", rundir, "a") == 0
    assert lab("down", rundir, "a") == 3
    assert labs(run=rundir) == ()


@pytest.mark.root
def test_exec_passes_the_exit_code_and_the_words_through(rundir: Path) -> None:
    assert lab("up", rundir, "--name", "a") == 0
    where = ["exec", "--run", str(rundir), "a", "h2"]
    done = subprocess.run([*RUN, *where, "--", "sh", "-c", "ip -br -4 address; exit 7"], capture_output=True, text=True)
    assert done.returncode == 7
    assert "10.0.0.2/8" in done.stdout
    assert subprocess.run([*RUN, *where, "no-such-program"], stderr=subprocess.DEVNULL).returncode == 127
    assert subprocess.run([*RUN, *where, "/etc/passwd"], stderr=subprocess.DEVNULL).returncode == 126
    assert lab("exec", rundir, "a", "h9", "true") == 3
    done = subprocess.run([*RUN, *where, "--", "echo", "h1", "h1x", "h2"], capture_output=True, text=True)
    assert done.stdout == "10.0.0.1 h1x 10.0.0.2\n"
    assert lab("down", rundir, "--all") == 0
    assert labs(run=rundir) == ()


@pytest.mark.root
def test_down_that_leaves_something_ends_with_5_and_says_what(rundir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert lab("up", rundir, "--name", "a") == 0
    held = os.open(Lab.find("a", run=rundir).home.space("fabric"), os.O_RDONLY)
    capfd.readouterr()
    assert lab("down", rundir, "--timeout", "0.1", "a") == 5
    os.close(held)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("hawser: lab a: link h")
    assert f"process {os.getpid()} holds its namespaces open" in said.err


@pytest.mark.root
def test_one_that_cannot_be_removed_keeps_no_other(rundir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert lab("up", rundir, "--name", "b") == 0
    capfd.readouterr()
    assert lab("down", rundir, "a", "b") == 3
    assert capfd.readouterr().out == "b\n"
    assert labs(run=rundir) == ()


@pytest.mark.root
def test_run_sets_up_tests_and_removes(rundir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert lab("run", rundir, "--topo", "tree,2,2", "--test", "pingall") == 0
    assert "h1 -> h2 h3 h4" in capfd.readouterr().out
    assert lab("run", rundir, "--topo", "single,2", "--", "sh", "-c", "exit 5") == 5
    assert lab("run", rundir, "--", "ping", "-c1", "-W1", "10.0.0.2") == 0
    assert labs(run=rundir) == ()


@pytest.mark.root
def test_pingall_with_a_loss_ends_with_1(rundir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert lab("up", rundir) == 0
    assert subprocess.run([*RUN, "exec", "--run", str(rundir), "lab", "h2", "ip", "link", "set", "h2-eth0", "down"])
    capfd.readouterr()
    assert lab("pingall", rundir, "--json", "--timeout", "0.1", "lab") == 1
    assert json.loads(capfd.readouterr().out)["lost"] == [["h1", "h2"], ["h2", "h1"]]
    assert lab("down", rundir, "lab") == 0


@pytest.mark.root
def test_wires_are_cut_slowed_shown_and_healed(rundir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert lab("up", rundir, "--name", "a", "--topo", "single,3") == 0
    assert lab("cut", rundir, "a", "h1", "h2", "--one-way") == 0
    assert lab("partition", rundir, "a", "h1,h2", "h3") == 0
    assert lab("impair", rundir, "a", "h3", "s1", "--rate", "10mbit", "--loss", "1%") == 0
    capfd.readouterr()
    assert lab("pingall", rundir, "--json", "--timeout", "0.1", "a") == 1
    assert json.loads(capfd.readouterr().out)["received"] == 0
    assert lab("show", rundir, "a") == 0
    assert [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()[-5:]] == [
        "WHERE FAULT",
        "h1 to h2 cut",
        "h1 h2 | h3 partition",
        "from h3-eth0 rate 10000000 bit/s, loss 1 %",
        "from s1-eth3 rate 10000000 bit/s, loss 1 %",
    ]
    assert lab("heal", rundir, "a", "h1", "h2") == lab("partition", rundir, "a") == 0
    assert lab("show", rundir, "a", "--json") == 0
    faults = json.loads(capfd.readouterr().out)["faults"]
    assert (faults["apart"], faults["groups"], len(faults["impaired"])) == ([], [], 2)
    assert lab("heal", rundir, "a") == 0
    assert lab("cut", rundir, "a", "h9") == 3
    assert lab("impair", rundir, "a", "h1", "h2", "--loss", "1%") == 2
    assert lab("impair", rundir, "a", "h1", "--delay", "20") == 2
    assert lab("down", rundir, "a") == 0


@pytest.mark.parametrize(
    "words",
    [
        ("up", "--topo", "ring,3"),
        ("up", "--name", "../x"),
        ("up", "--topo", "single,300", "--ipbase", "10.0.0.0/24"),
        ("down",),
        ("run", "--topo", "single,2"),
        ("run", "--test", "pingall", "--", "true"),
        ("run", "--test", "nothing"),
        ("run", "--tpoo", "single,2", "true"),
        ("exec", "--nonsense", "a", "h1", "true"),
        ("down", "--timeout", "-1", "a"),
    ],
)
def test_a_misuse_ends_with_2_and_builds_nothing(words: tuple[str, ...], rundir: Path) -> None:
    assert lab(words[0], rundir, *words[1:]) == 2
    assert not list(rundir.iterdir())


def test_an_unknown_lab_ends_with_3(rundir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("down", "x"),
        ("show", "x"),
        ("pingall", "x"),
        ("exec", "x", "h1", "true"),
        ("cut", "x", "h1"),
        ("heal", "x"),
    ):
        assert lab(words[0], rundir, *words[1:]) == 3
        assert capfd.readouterr().err == "hawser: there is no lab x; see: hawser lab ls\n"
