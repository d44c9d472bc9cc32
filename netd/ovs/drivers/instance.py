"""Open vSwitch's two daemons: the machine's own where they run, otherwise a pair of ours.

Ours keep their sockets in `<run>/ovs` and their database in `<data>/ovs/conf.db`. They outlive this process: a restart
of the node finds them by their records and touches nothing, so no packet is lost. A daemon that dies is started again,
with growing delays.

What a daemon's end costs. Without its database ovs-vswitchd keeps ports and flows, but runs no bridge: the kernel's
datapath goes on by itself, the one in user space stops until ovs-vswitchd has connected again, a second after the
database's end; OpenFlow waits as long in both. With ovs-vswitchd go flows, conntrack of the datapath in user space and
its traffic, until flows are programmed again; the kernel's datapath goes on by the flows it knows, since a new
ovs-vswitchd is told to leave them alone (`flow-restore-wait`, ovs-vswitchd.conf.db(5)). Whoever programs flows is told
by `restarted`, and says `programmed` when they are there.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hawser.store.reconcile import Backoff

from ...errors import NetError, Unavailable
from . import rpc
from .daemon import READY, STEP, Daemon, readable
from .programs import Programs, find, kernel_datapath

SYSTEM = Path("/run/openvswitch")
Launch = Callable[[Callable[[], None]], Awaitable[None]]
BACKOFF = Backoff(base=0.1, cap=5.0)
SETTLED = 30.0
WAITING = ["other_config", "insert", ["map", [["flow-restore-wait", "true"]]]]
NOT_WAITING = ["other_config", "delete", ["set", ["flow-restore-wait"]]]


async def _at_once(start: Callable[[], None]) -> None:
    start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where an instance is spoken to, and the datapath_type its bridges have; `own`: it is ours."""

    rundir: Path
    db: Path
    control: Path
    datapath: str
    own: bool

    def management(self, bridge: str) -> Path:
        """The socket at which a bridge speaks OpenFlow."""
        return self.rundir / f"{bridge}.mgmt"


class Instance:
    """One pair of daemons. `restarted` is called on the loop when there is a new ovs-vswitchd, without flows."""

    def __init__(
        self,
        run: Path,
        data: Path,
        *,
        system: Path | None = SYSTEM,
        restarted: Callable[[], None] = lambda: None,
        launch: Launch = _at_once,
    ) -> None:
        """`system` is where the machine's own would be, None has ours in any case; `launch` starts a program in the
        network namespace where the switch is to be."""
        self._dir, self._data, self._system, self._restarted = run / "ovs", data / "ovs", system, restarted
        self._server = Daemon(self._dir, "ovsdb-server")
        self._switch = Daemon(self._dir, "ovs-vswitchd")
        self._paths: Paths | None = None
        self._launch = launch
        self._turn = asyncio.Lock()

    async def ensure(self) -> Paths:
        """Have it run: found again, the machine's own, or started. Unavailable: what is missing, or why it ended."""
        async with self._turn:
            if not (self._server.alive() or self._switch.alive()) and (system := await self._machines_own()):
                self._paths = system
            else:
                self._paths = await self._ours()
            return self._paths

    async def find(self) -> Paths | None:
        """What runs already, ours or the machine's own; nothing is started."""
        async with self._turn:
            if self._server.alive() and self._switch.alive():
                self._paths = await self._ours()
            else:
                self._paths = await self._machines_own()
            return self._paths

    def alive(self) -> bool:
        """Whether both daemons run (the database of the machine's own is not looked at)."""
        if self._paths is None or self._paths.own:
            return self._server.alive() and self._switch.alive()
        return _here(_pid(self._system))

    async def programmed(self) -> None:
        """The flows are there: ovs-vswitchd may forget the datapath's old ones, and has done so on return. Nothing for
        the machine's own. Unavailable."""
        if self._paths is not None and self._paths.own:
            await rpc.transact(self._paths.db, _configure(NOT_WAITING))
            await _taken_up(self._paths.db)

    async def tend(self) -> None:
        """Start again what ends, for ever; `ensure` comes first."""
        attempts, since = 0, asyncio.get_running_loop().time()
        while True:
            before = self._identity()
            await self._one_ends()
            now = asyncio.get_running_loop().time()
            attempts = 1 if now - since > SETTLED else attempts + 1
            await asyncio.sleep(BACKOFF.delay(attempts))
            since = asyncio.get_running_loop().time()
            try:
                await self._again()
            except NetError:  # said by its log; tried again
                continue
            if self._identity() != before:
                self._restarted()

    async def stop(self) -> None:
        """End ours, its bridges and datapath too; the database's file stays. The machine's own is left alone."""
        async with self._turn:
            if self._switch.alive():
                try:
                    await rpc.call(self._control(), "exit", "--cleanup")
                    async with asyncio.timeout(5):
                        await self._switch.ended()
                except (NetError, TimeoutError):
                    pass  # then by a signal
            await self._switch.end()
            await self._server.end()
            self._paths = None

    def close(self) -> None:
        """Let go; everything runs on."""
        self._switch.close()
        self._server.close()

    async def _ours(self) -> Paths:
        found = [each for each in (self._server, self._switch) if each.alive()]
        try:
            return await self._pair()
        except Unavailable:
            if all(each.alive() for each in found):
                raise
            return await self._pair()  # what was found was just ending

    async def _pair(self) -> Paths:
        programs = find()
        await self._database(programs)
        db = self._dir / "db.sock"
        env = {"PATH": os.environ.get("PATH", os.defpath), "OVS_PKGDATADIR": str(programs.schema.parent)}
        env |= dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR"), str(self._dir))
        env |= dict.fromkeys(("OVS_DBDIR", "OVS_SYSCONFDIR"), str(self._data))
        quiet = ("--no-chdir", "-vconsole:warn", "-vsyslog:off", "-vfile:off")
        if not self._server.alive():
            control = self._dir / "ovsdb-server.ctl"
            where = (f"--remote=punix:{db}", f"--unixctl={control}", str(self._data / "conf.db"))
            argv = (str(programs.ovsdb_server), *quiet, *where)
            await self._launch(lambda: self._server.start(argv, env))
        await self._server.ready(lambda: rpc.call(db, "list_dbs"))
        if not self._switch.alive():
            await _hold(db)
            for stale in self._dir.glob("ovs-vswitchd.*.ctl"):
                stale.unlink()
            pidfile = f"--pidfile={self._dir / 'ovs-vswitchd.pid'}"
            command = (str(programs.vswitchd), *quiet, pidfile, f"unix:{db}")
            await self._launch(lambda: self._switch.start(command, env))
        await self._switch.ready(lambda: _configured(db, self._control()))
        datapath = "system" if kernel_datapath() else "netdev"
        return Paths(rundir=self._dir, db=db, control=self._control(), datapath=datapath, own=True)

    async def _database(self, programs: Programs) -> None:
        """The database's file, of the schema that the programs have."""
        file = self._data / "conf.db"
        try:
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise NetError(f"{error.filename}: {error.strerror}") from error
        tool, schema = str(programs.ovsdb_tool), str(programs.schema)
        if not file.exists():
            fresh = self._data / "conf.db.new"
            fresh.unlink(missing_ok=True)
            await _run(tool, "create", str(fresh), schema)
            fresh.replace(file)
        elif not self._server.alive() and await _run(tool, "needs-conversion", str(file), schema) == "yes":
            await _run(tool, "convert", str(file), schema)

    def _control(self) -> Path:
        return self._dir / f"ovs-vswitchd.{self._switch.pid}.ctl"

    async def _machines_own(self) -> Paths | None:
        """The machine's Open vSwitch, when it answers and is in our network namespace."""
        if self._system is None:
            return None
        pid, db = _pid(self._system), self._system / "db.sock"
        if not _here(pid):
            return None
        try:
            await rpc.call(db, "list_dbs")
        except NetError:
            return None
        control = self._system / f"ovs-vswitchd.{pid}.ctl"
        datapath = "system" if kernel_datapath() else "netdev"
        return Paths(rundir=self._system, db=db, control=control, datapath=datapath, own=False)

    def _identity(self) -> int:
        """Which ovs-vswitchd it is."""
        return self._switch.pid if self._paths is None or self._paths.own else _pid(self._system)

    async def _one_ends(self) -> None:
        if self._paths is None or self._paths.own:
            fds = [self._server.watch(), self._switch.watch()]
        else:
            try:
                fds = [os.pidfd_open(_pid(self._system))]
            except OSError:
                return
        alive = [fd for fd in fds if fd is not None]
        if len(alive) == len(fds):
            await readable(*alive)
            return
        for fd in alive:
            os.close(fd)

    async def _again(self) -> None:
        if self._paths is None or self._paths.own:
            await self.ensure()
            return
        found = await self._machines_own()
        if found is None:  # whoever owns it starts it
            raise Unavailable("the machine's Open vSwitch does not answer")
        await _taken_up(found.db)
        self._paths = found


async def _hold(db: Path) -> None:
    """Have the one row of the configuration say that flows are to come, and that nothing is made of it yet: numbers of
    ports are an earlier ovs-vswitchd's until then."""
    rows = await rpc.transact(db, {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["_uuid"]})
    if not rows[0]["rows"]:
        await rpc.transact(db, {"op": "insert", "table": "Open_vSwitch", "row": {}})
    undone = {"op": "update", "table": "Open_vSwitch", "where": [], "row": {"cur_cfg": 0}}
    await rpc.transact(db, undone, _configure(NOT_WAITING, WAITING, ["next_cfg", "+=", 1]))


async def _configured(db: Path, control: Path) -> None:
    """Whether ovs-vswitchd answers and has made the bridges and ports of its configuration. Unavailable: not yet."""
    await rpc.call(control, "version")
    (answer,) = await rpc.transact(db, {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["cur_cfg"]})
    if not any(row["cur_cfg"] for row in answer["rows"]):
        raise Unavailable("ovs-vswitchd has not read its configuration")


async def _taken_up(db: Path) -> None:
    """Wait until ovs-vswitchd has made what is configured now, as ovs-vsctl(8) does. Unavailable after 30 s."""
    rows = {"table": "Open_vSwitch", "where": []}
    _, answer = await rpc.transact(db, _configure(["next_cfg", "+=", 1]), {"op": "select", **rows})
    wanted = answer["rows"][0]["next_cfg"]
    for _ in range(int(READY / STEP)):
        (answer,) = await rpc.transact(db, {"op": "select", **rows})
        if answer["rows"][0]["cur_cfg"] >= wanted:
            return
        await asyncio.sleep(STEP)
    raise Unavailable(f"ovs-vswitchd has not taken up its configuration within {READY:g} s; does it run?")


def _configure(*mutations: Sequence[object]) -> dict[str, object]:
    return {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations}


async def _run(*argv: str) -> str:
    """What a program prints; NetError with its first line when it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    if process.returncode:
        words = err.decode(errors="replace").strip() or f"failed with code {process.returncode}"
        raise NetError(f"{Path(argv[0]).name} {argv[1]}: {words.splitlines()[0]}")
    return out.decode(errors="replace").strip()


def _pid(rundir: Path | None) -> int:
    if rundir is None:
        return 0
    try:
        return int((rundir / "ovs-vswitchd.pid").read_text())
    except (OSError, ValueError):
        return 0


def _here(pid: int) -> bool:
    """Whether the process lives, in our network namespace."""
    try:
        return pid > 0 and os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/thread-self/ns/net").st_ino
    except OSError:
        return False
