"""Lab hosts as machines of a cluster: each with directories and a node process of its own, real etcd members among
them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from hawser.client import Client
from hawser.faults import Fault
from hawser.labs import Lab, Node, Process, single
from tests.hawser.conftest import Outcome
from tests.wait import until

HAWSER = str(Path(sys.executable).parent / "hawser")
UP_WITHIN, GROWN_WITHIN = 30.0, 40.0
UNIT = "[Service]\nExecStart=/bin/sleep 100000\n"
REFUSED_WITHIN = 20.0


@dataclass
class Machine:
    """One host of the lab and its node process."""

    host: Node
    process: Process | None = field(default=None)

    @property
    def ip(self) -> str:
        return self.host.ip

    @property
    def data(self) -> Path:
        return self.host.path / "data"

    @property
    def client(self) -> Client:
        return Client(str(self.host.path / "run" / "hawser.sock"))

    @property
    def id(self) -> str:
        return (self.data / "machine-id").read_text().strip()

    def command(self, *words: str) -> list[str]:
        """`hawser node WORDS` with this machine's directories."""
        place = ["--data", str(self.data), "--run", str(self.host.path / "run")]
        address = [] if "--address" in words else ["--address", self.ip]
        return [HAWSER, "node", *words, *place, *address]

    def begin(self, *words: str, **env: str) -> Process:
        """Start the node process, and wait for nothing."""
        self.process = self.host.start(self.command(*words), name="node", env=env)
        return self.process

    def up(self, *words: str, timeout: float = UP_WITHIN, **env: str) -> None:
        """Start it and wait until it answers, and is known to itself."""
        self.begin(*(words or ("up",)), **env)
        until(self.answers, timeout=timeout, what=f"the node on {self.host.name}")

    def refused(self, *words: str, **env: str) -> Outcome:
        """Run `hawser node WORDS`, which is to end by itself, with one line."""
        process = self.host.popen(
            self.command(*words), env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, err = process.communicate(timeout=REFUSED_WITHIN)
        finally:
            process.kill()
            process.wait()
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) == 1, err
        return Outcome(process.returncode, out, err)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.running, self.log()
        status = self.status()
        return status is not None and status["machine"] in self.machines_or_none()

    def status(self) -> Any:
        """What the node says of itself, or None."""
        try:
            return self.client.get("/v1/status")
        except Fault:
            return None

    def hawser(self, *words: str) -> Outcome:
        """The command line on this machine."""
        env = os.environ | {"HAWSER_SOCKET": self.client.path}
        process = self.host.popen([HAWSER, *words], env=env, stdout=-1, stderr=-1, text=True)
        try:
            out, err = process.communicate(timeout=90)
        finally:
            process.kill()
            process.wait()
        return Outcome(process.returncode, out, err)

    def token(self, *words: str) -> str:
        made = self.hawser("node", "token", "create", *words)
        assert made.code == 0, made.err
        return made.out.strip()

    def stop(self) -> None:
        """As systemd stops it."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log()

    def kill(self) -> None:
        """Only the node process; its etcd member and its units go on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def leave(self) -> None:
        done = self.hawser("node", "leave", "--yes")
        assert done.code == 0, done.err
        assert self.process is not None
        assert self.process.wait(20) == 0, self.log()

    def log(self) -> str:
        return (self.host.path / "node.log").read_text(errors="replace")[-4000:]

    def etcdctl(self, *words: str) -> str:
        """etcdctl at this machine's own member, with this machine's certificate."""
        home = self.data / "cluster"
        pem = ["--cacert", f"{home}/ca.pem", "--cert", f"{home}/machine.pem", "--key", f"{home}/machine.pem"]
        limits = ["--command-timeout=3s", "--dial-timeout=2s"]
        return self.host.cmd(
            ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", f"https://{self.ip}:2379", *pem, *limits, *words]
        )

    def voters(self) -> set[str]:
        """The machines whose members vote, as this machine's own member says."""
        rows = (line.split(", ") for line in self.etcdctl("member", "list").splitlines())
        return {row[2] for row in rows if len(row) == 6 and row[1] == "started" and row[5] == "false"}

    def etcd_pid(self) -> int:
        """The process of this machine's member."""
        return int((self.data / "etcd" / "process").read_text().partition("\n")[2].split()[0])

    def machines(self) -> dict[str, Any]:
        return {each["id"]: each for each in self.client.get("/v1/machines")}

    def machines_or_none(self) -> dict[str, Any]:
        """As `machines`, none while the store is away."""
        try:
            return self.machines()
        except Fault:
            return {}

    def certificate(self) -> str:
        """The serial number of this machine's certificate."""
        pem = (self.data / "cluster" / "machine.pem").read_bytes()
        return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"

    def served(self) -> str:
        """The serial number of the certificate that its etcd member shows to clients."""
        home = self.data / "cluster"
        ask = f"openssl s_client -connect {self.ip}:2379 -cert {home}/machine.pem -key {home}/machine.pem </dev/null"
        said = self.host.cmd(f"{ask} 2>/dev/null | openssl x509 -noout -serial")
        return said.strip().removeprefix("serial=").lstrip("0").lower()

    def leader(self) -> str | None:
        try:
            return next((id_ for id_, each in self.machines().items() if each["leader"]), None)
        except Fault:
            return None

    def unit(self, name: str) -> Any:
        try:
            return self.client.get(f"/v1/units/{name}")
        except Fault:
            return {}

    def sleepers(self, seconds: str = "100000") -> list[int]:
        """Processes on this host that a unit of a test runs."""
        space = (self.host.inside(lambda: os.stat("/proc/thread-self/ns/net"))).st_ino
        found = []
        for entry in os.listdir("/proc"):
            try:
                if (
                    entry.isdigit()
                    and os.stat(f"/proc/{entry}/ns/net").st_ino == space
                    and Path(f"/proc/{entry}/cmdline").read_bytes() == f"/bin/sleep\0{seconds}\0".encode()
                ):
                    found.append(int(entry))
            except OSError:
                continue
        return found


@dataclass
class Fleet:
    """A lab whose hosts are machines."""

    lab: Lab
    machines: list[Machine]

    def __getitem__(self, index: int) -> Machine:
        return self.machines[index]

    def found(self, *options: str, size: int = 3, members: int = 3) -> None:
        """The first machine founds a cluster of `members`, others join until `size` are there."""
        self[0].up("up", "--cluster-init", str(members), *options)
        token = self[0].token("--uses", str(size)) if size > 1 else ""
        for machine in self.machines[1:size]:
            machine.begin("join", token)
        for machine in self.machines[1:size]:
            until(machine.answers, timeout=UP_WITHIN, what=f"the node on {machine.host.name}")
        voters = min(size, members)
        self.grown(self.machines[: voters if voters % 2 else voters - 1])

    def grown(self, machines: list[Machine], timeout: float = GROWN_WITHIN) -> None:
        """Wait until the members of just these vote."""
        ids = {machine.id for machine in machines}
        until(lambda: machines[0].voters() == ids, timeout=timeout, what=f"members on {sorted(ids)}")


@contextmanager
def fleet(size: int, name: str) -> Iterator[Fleet]:
    """So many machines, none of which runs anything yet; all of it is gone afterwards."""
    with Lab(single(size), name=f"{name}{os.getpid()}") as lab:
        machines = [Machine(host) for host in lab.hosts]
        for machine in machines:
            machine.host.cmd("ip link set lo up")
            machine.data.mkdir(mode=0o700)
        try:
            yield Fleet(lab, machines)
        finally:
            for machine in machines:
                _clear(machine)


def _clear(machine: Machine) -> None:
    """Everything of the machine that does not end with its host: cgroups and containers are of no network."""
    machine.host.crash()
