"""A lab: a topology brought up in the kernel under a name, used, and taken down to the last link.

    with Lab(tree(depth=2, fanout=3)) as lab:
        print(lab.host("h1").cmd("ip -br address"))
        assert lab.pingall().loss == 0

Everything lives outside of this process: `Lab.find(name)` in another one continues with the same lab, and the command
line sees it. The calls block; from asyncio use `async with` and `asyncio.to_thread`
(asyncio is imported only then: it costs as much as building a small lab).
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .document import dump_topology, load_topology
from .drivers import build as _build
from .drivers import processes
from .drivers.home import Home, homes, locked
from .drivers.node import Node
from .drivers.ping import pingall
from .drivers.process import Process, end
from .drivers.wires import Wires
from .errors import Conflict, Denied, LabError, NotFound, Unavailable
from .model import Topology, check_name
from .render import render
from .report import Report

RUN = Path("/run/hawser")
PATIENCE = 30.0  # seconds for the kernel to take links down


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of `lab ls`; `state` is up, busy (somebody works on it now) or partial (what a crash left)."""

    name: str
    state: str
    shape: str
    hosts: int
    switches: int


class Lab(Wires):
    """A topology under a name, kept in `home`. `up` and `down` are what `with` and `async with` do."""

    def __init__(self, topology: Topology, *, name: str | None = None, run: Path | str = RUN, shape: str = "") -> None:
        self.topology = topology
        self.name = check_name(name or f"lab{os.getpid()}")
        self.shape = shape
        self.home = Home(Path(run), self.name)
        self._hosts = {host.name: host for host in topology.hosts}
        self._started: list[Process] = []

    @classmethod
    def find(cls, name: str, *, run: Path | str = RUN) -> "Lab":
        """The lab of this name that is up. NotFound; Conflict when it is partial."""
        home = Home(Path(run), check_name(name))
        state = home.read()
        if not home.whole():
            raise Conflict(f"lab {name} is not up (busy, or left by a crash); remove it: hawser lab down {name}")
        return cls(load_topology(state["topology"]), name=name, run=run, shape=state["shape"])

    def up(self) -> None:
        """Build it. Exists, Denied; what failed half-way is removed before the error comes out."""
        _root("set up a lab")
        plan = render(self.topology)
        with locked(self.home, new=True):
            try:
                self.home.write({"state": "building", "shape": self.shape, "topology": dump_topology(self.topology)})
                self.home.mount()
                _build.build(self.home, plan)
                self.home.write({"state": "up", "shape": self.shape, "topology": dump_topology(self.topology)})
            except BaseException as error:
                try:
                    _remove(self.home, PATIENCE)
                except LabError as left:
                    error.add_note(str(left))
                raise

    def down(self, *, timeout: float = PATIENCE) -> None:
        """Remove it with every process in it; nothing when it is gone. Errors as `remove`."""
        end(self._started)
        self._started.clear()
        with suppress(NotFound):
            remove(self.name, run=self.home.path.parent.parent, timeout=timeout)

    def host(self, name: str) -> Node:
        """A host by name; NotFound."""
        if name not in self._hosts:
            raise NotFound(f"lab {self.name} has no host {name}; see: hawser lab show {self.name}")
        return Node(self.home, self._hosts[name], self._started)

    @property
    def hosts(self) -> tuple[Node, ...]:
        """Every host, h2 before h10."""
        return tuple(Node(self.home, host, self._started) for host in self.topology.hosts)

    def pingall(self, *, timeout: float = 1.0) -> Report:
        """One echo request for every ordered pair of hosts; one unanswered after `timeout` seconds is lost."""
        start = time.monotonic()
        lost = pingall(self.home, self.topology.hosts, timeout)
        names = tuple(host.name for host in self.topology.hosts)
        pairs = frozenset((names[a], names[b]) for a, b in lost)
        return Report(hosts=names, lost=pairs, seconds=time.monotonic() - start)

    def exec(self, host: str, argv: Sequence[str]) -> int:
        """Turn this process into a command on a host; returns only when it cannot be run (126, 127).

        A word that is a host's name becomes its address, as in Mininet's command line.
        """
        self.host(host)
        program, *words = argv
        words = [str(self._hosts[word].address.ip) if word in self._hosts else word for word in words]
        return processes.become(self.home.space(host), [program, *words])

    def __enter__(self) -> "Lab":
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    async def __aenter__(self) -> "Lab":
        import asyncio

        await asyncio.to_thread(self.up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.down)


def remove(name: str, *, run: Path | str = RUN, timeout: float = PATIENCE) -> None:
    """Take a lab down, whole or partial: processes, links, namespaces, mounts, files.

    NotFound, Conflict, Denied; Unavailable when the kernel still has links of it after `timeout` seconds.
    """
    home = Home(Path(run), check_name(name))
    home.read()
    _root("remove a lab")
    with locked(home):
        _remove(home, timeout)


def labs(*, run: Path | str = RUN) -> tuple[Entry, ...]:
    """Every lab under a run directory."""
    found = []
    for home in homes(Path(run)):
        state = home.read()
        what = "up" if home.whole() else "busy" if home.busy() else "partial"
        topology = state.get("topology", {"hosts": [], "switches": []})
        sizes = {"hosts": len(topology["hosts"]), "switches": len(topology["switches"])}
        found.append(Entry(name=home.name, state=what, shape=state.get("shape", ""), **sizes))
    return tuple(found)


def _remove(home: Home, timeout: float) -> None:
    with _build.Witness(home) as witness:
        inodes = home.inodes()
        processes.end(inodes)
        home.release()
        if not witness.wait(timeout):
            holders = [f"process {pid}" for pid in processes.holders(inodes)] or ["something"]
            raise Unavailable(
                f"lab {home.name}: link {witness.link} and others are still there after {timeout:g} s; "
                f"{', '.join(holders)} holds its namespaces open, end that and the kernel removes them"
            )


def _root(what: str) -> None:
    if os.geteuid() != 0:
        raise Denied(f"{what}: namespaces and links need root; run it with sudo")
