"""The demo's second part: three machines, namespaces joined by a switch, become one cluster; one of them dies.

Each machine runs a node of its own and an etcd member that the node supervises.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hawser.labs import Lab, Node, single
from hawser.runtime.drivers import cgroups

from ..faults import Fault
from ..node import INSTANCE
from . import probes
from .report import Report

SIZE = 3
UNIT = "[Service]\nExecStart=/bin/sleep 1000000\n"


class Machine:
    """One machine of the lab, and the command line on it."""

    def __init__(self, host: Node) -> None:
        self.host, self.address = host, str(host.ip).partition("/")[0]
        self.data, self.run = host.path / "data", host.path / "run"

    def start(self, *words: str) -> None:
        """`hawser node WORDS`, to run on."""
        self.host.start([sys.executable, "-m", "hawser.main", "node", *words, *self.place()], name="node")

    def place(self, beneath: str = "") -> tuple[str, ...]:
        """Where its node lives."""
        base = self.host.path / beneath
        return ("--data", str(base / "data"), "--run", str(base / "run"), "--address", self.address)

    def hawser(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, as an operator of this machine gives it."""
        environment = os.environ | {"HAWSER_SOCKET": str(self.run / "hawser.sock")}
        command = [sys.executable, "-m", "hawser.main", *words]
        process = self.host.popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, error = process.communicate(timeout=30)
        return subprocess.CompletedProcess(command, process.returncode, out, error)

    def asks(self, *words: str) -> Any:
        """A listing as JSON; nothing when the node does not answer."""
        answer = self.hawser(*words, "--json")
        return json.loads(answer.stdout) if answer.returncode == 0 else []

    def said(self) -> str:
        """The last lines of the node's log."""
        log = self.host.path / "node.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else ""


class FleetStory:
    """The chapters about a cluster."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.machines: list[Machine] = []

    def tell(self) -> None:
        """All chapters, in a lab of their own."""
        if shutil.which("etcd") is None:
            raise Fault("a cluster needs etcd, which is not found; install it (Debian: etcd-server)", "unavailable")
        with Lab(single(SIZE), name=f"demo{os.getpid()}") as lab:
            self.machines = [Machine(lab.host(f"h{number + 1}")) for number in range(SIZE)]
            try:
                self.found()
                self.share()
                self.lose()
            finally:
                ids = self._ids()
        for id_ in ids:  # the lab has ended what ran on its machines; only the empty groups are left
            for group in Path("/sys/fs/cgroup").glob(f"**/hawser/{id_[:INSTANCE]}"):
                cgroups.remove(str(group))

    def found(self) -> None:
        self.report.chapter("Three machines, one cluster: the first founds it, two join with tokens")
        first, *others = self.machines
        with self.report.measured("cluster"):
            first.start("up", "--cluster-init", str(SIZE))
            up = self._until(lambda: first.asks("node", "status"), 20)
        self.report.claim(
            "a cluster with a CA and an etcd member of its own", up, self.report.took("cluster") if up else first.said()
        )
        tokens = [first.hawser("node", "token", "create").stdout.strip() for _ in others]
        with self.report.measured("join"):
            for machine, token in zip(others, tokens, strict=True):
                machine.start("join", token)
            joined = self._until(lambda: len(first.asks("machine", "ls")) == SIZE, 20)
        self.report.claim("two machines joined", joined, self.report.took("join"))
        again = others[0].hawser("node", "join", tokens[1], *others[0].place("again"))
        self.report.claim("a token is good once", again.returncode == 6, again.stderr.strip()[:70])
        with self.report.measured("voters"):
            voting = self._until(lambda: self._voters(first) == SIZE, 30)
        self.report.claim("the leader made it three etcd members, by learners", voting, self.report.took("voters"))

    def share(self) -> None:
        self.report.chapter("One store for all of them")
        first, second, third = self.machines
        first.hawser("kv", "put", "/greeting", "ahoy")
        read = third.hawser("kv", "get", "/greeting").stdout.strip()
        self.report.claim("what one machine puts another one reads", read == "ahoy", f"{read!r}")
        unit = second.host.path / "watch.service"
        unit.write_text(UNIT)
        second.hawser("unit", "start", str(unit))
        runs = self._until(lambda: self._runs_on() in self._ids(), 10)
        self.report.claim("a unit runs on one of them", runs, f"on {self._runs_on()[:12]}")

    def lose(self) -> None:
        self.report.chapter("The machine that leads dies")
        leader = next(each["id"] for each in self.machines[0].asks("machine", "ls") if each["leader"])
        dead = next(machine for machine in self.machines if (machine.data / "machine-id").read_text().strip() == leader)
        left = [machine for machine in self.machines if machine is not dead]
        with self.report.measured("succession"):
            dead.host.crash()
            led = self._until(lambda: self._leader(left[0]) not in ("", leader), 30)
        self.report.claim("another one leads", led, self.report.took("succession"))
        with self.report.measured("write"):
            wrote = left[1].hawser("kv", "put", "/greeting", "still here").returncode == 0
        got = left[0].hawser("kv", "get", "/greeting")
        read = got.stdout.strip()
        self.report.claim("writes go on, and nothing is lost", wrote and read == "still here", f"{read!r}")
        moved = self._until(lambda: self._runs_on() in self._ids(left), 15)
        self.report.claim(
            "no unit is left on the dead machine", moved, f"watch.service on {self._runs_on(left[0])[:12]}"
        )

    def _ids(self, machines: list[Machine] | None = None) -> set[str]:
        files = [machine.data / "machine-id" for machine in machines or self.machines]
        return {file.read_text().strip() for file in files if file.exists()}

    def _runs_on(self, asked: Machine | None = None) -> str:
        for machine in [asked] if asked else self.machines:
            for unit in machine.asks("unit", "ls"):
                if unit["name"] == "watch.service" and unit["active"] == "active":
                    return str(unit["machine"])
        return ""

    def _leader(self, asked: Machine) -> str:
        return next((str(each["id"]) for each in asked.asks("machine", "ls") if each["leader"]), "")

    def _voters(self, asked: Machine) -> int:
        return sum(not member["learner"] and bool(member["name"]) for member in asked.asks("kv", "member", "ls"))

    def _until(self, holds: Callable[[], object], seconds: float) -> bool:
        return probes.until(lambda: bool(holds()), seconds)
