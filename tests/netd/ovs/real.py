"""A private Open vSwitch in a namespace, as a machine has it: daemons of its own, started and ended here."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hawser.netd.drivers import netns
from hawser.netd.ovs.drivers.programs import kernel_datapath
from hawser.netd.ovs.flow import Flow, format_flow, parse_flow
from tests.wait import until

BRIDGE = "hwint0"
DATAPATH = "system" if kernel_datapath() else "netdev"
PLACES = ("../sbin", "../lib/openvswitch-switch", "../share/openvswitch")
NAMES = ("ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "vswitch.ovsschema")


def programs() -> dict[str, str]:
    """The programs and the schema by name; skips where Debian's openvswitch-switch is not there."""
    ofctl = shutil.which("ovs-ofctl")
    if ofctl is None:
        pytest.skip("Open vSwitch is not here: ovs-ofctl is not on the PATH")
    folder = Path(ofctl).parent
    found = {}
    for name in NAMES:
        beside = [folder / name, *(folder / place / name for place in PLACES)]
        found[name] = next((str(path) for path in beside if path.exists()), "")
        if not found[name]:
            pytest.skip(f"Open vSwitch is not whole: no {name} beside {ofctl}")
    return found


class Ovs:
    """The daemons of one machine, in the namespace `where`; its bridges use the datapath `DATAPATH`."""

    def __init__(self, where: Path, directory: Path) -> None:
        self.where, self._dir, self._programs = where, directory, programs()
        directory.mkdir()
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        self._env = {**os.environ, **dict.fromkeys(names, str(directory))}
        self._env["OVS_PKGDATADIR"] = str(Path(self._programs["vswitch.ovsschema"]).parent)
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._run("ovsdb-tool", "create", str(self._dir / "conf.db"), self._programs["vswitch.ovsschema"])
        db = f"unix:{self._dir}/db.sock"
        self._daemon(
            "ovsdb-server", str(self._dir / "conf.db"), f"--remote=p{db}", f"--unixctl={self._dir}/db.ctl"
        )  # fmt: skip
        until(lambda: (self._dir / "db.sock").exists(), what="the database")
        self.vsctl("--no-wait", "init")
        self._daemon("ovs-vswitchd", db, f"--unixctl={self._dir}/vs.ctl")
        self.vsctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, f"datapath_type={DATAPATH}", "fail_mode=secure")

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(15)

    def vsctl(self, *arguments: str) -> str:
        return self._run("ovs-vsctl", f"--db=unix:{self._dir}/db.sock", "--timeout=20", *arguments)

    def replace(self, flows: Iterable[Flow]) -> None:
        """Have just these flows, in one bundle."""
        text = "".join(f"{format_flow(flow)}\n" for flow in flows)
        self._ofctl("--bundle", "replace-flows", BRIDGE, "-", text=text)

    def change(self, added: Iterable[Flow], removed: Iterable[Flow]) -> None:
        """Remove and add flows in one bundle."""
        lines = [f"flow delete_strict table={flow.table},priority={flow.priority},{flow.match}" for flow in removed]
        lines += [f"flow add {format_flow(flow)}" for flow in added]
        self._ofctl("--bundle", "bundle", BRIDGE, "-", text="".join(f"{line}\n" for line in lines))

    def meter(self, line: str) -> None:
        self._ofctl("add-meter", BRIDGE, line)

    def dump(self) -> set[Flow]:
        """What the switch has."""
        return {
            parse_flow(line) for line in self._ofctl("dump-flows", BRIDGE, "--no-stats").splitlines() if "=" in line
        }

    def packets(self, cookie: int, table: int) -> int:
        """How many packets the flows of one table with a cookie have counted."""
        text = self._ofctl("dump-flows", BRIDGE, f"cookie={cookie:#x}/-1,table={table}")
        found = [part for part in text.replace(",", " ").split() if part.startswith("n_packets=")]
        return sum(int(part.partition("=")[2]) for part in found)

    def trace(self, flow: str) -> str:
        """What would become of a packet, in the switch's words."""
        return self._run("ovs-appctl", "-t", f"{self._dir}/vs.ctl", "ofproto/trace", BRIDGE, flow)

    def flush(self) -> None:
        """Forget connections."""
        self._run("ovs-appctl", "-t", f"{self._dir}/vs.ctl", "dpctl/flush-conntrack")

    def _ofctl(self, *arguments: str, text: str = "") -> str:
        return self._run("ovs-ofctl", "-O", "OpenFlow14", "--no-names", *arguments, text=text)

    def _daemon(self, name: str, *arguments: str) -> None:
        argv = [self._programs[name], *arguments, "-vconsole:off", "-vsyslog:off", f"--log-file={self._dir}/{name}.log"]
        self._daemons.append(netns.inside(self.where, lambda: subprocess.Popen(argv, env=self._env)))

    def _run(self, name: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [self._programs[name], *arguments], env=self._env, input=text, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def running(where: Path, directory: Path) -> Iterator[Ovs]:
    """A machine's Open vSwitch, ended afterwards."""
    ovs = Ovs(where, directory)
    try:
        ovs.start()
        yield ovs
    finally:
        ovs.stop()
