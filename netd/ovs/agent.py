"""The switch of one node: Open vSwitch's daemons, its database and its flows, brought to what the fabric says.

The database is written in one transaction and the flows in one bundle, each only where something differs. While only
ports come and go, the flows of just these are compiled; after a restart of ovs-vswitchd, and whenever asked for
`thorough`, the switch's own are read and compared, so that what was changed by hand is found.

Nothing is started before this machine has a network of kind `ovs`, and nothing of ours runs after its last one.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from hawser.store.reconcile import Step

from ..drivers import announce
from ..errors import NetError
from ..fabric import Fabric
from ..site import SWITCH, Site, of_tenant
from ..world import Kernel
from . import differences, layout, tables
from .drivers.instance import SYSTEM, Instance
from .drivers.openflow import OpenFlow
from .drivers.ovsdb import Ovsdb
from .flow import Flow, format_flow, parse_flow
from .meters import meters
from .pipeline import Change, compile_flows
from .program import Moves, Program
from .rows import OvsRow
from .scope import Ofports

T = TypeVar("T")
UPLINK_PORT = f"{layout.UNDERLAY}:uplink"


class Hands(Protocol):
    """Where the kernel is worked on."""

    def do(self, act: Callable[[Kernel], T]) -> Awaitable[T]:
        """Begin `act` now, after what was begun before; await the result."""
        ...


class Switch:
    """One call at a time. `wake` is called when there is a new ovs-vswitchd, which has no flows yet."""

    def __init__(self, instance: str, rundir: Path, hands: Hands, wake: Callable[[], None]) -> None:
        self._instance_id, self._rundir, self._hands, self._wake = instance, rundir, hands, wake
        self._daemons: Instance | None = None
        self._ovsdb: Ovsdb | None = None
        self._openflow: OpenFlow | None = None
        self._program: Program | None = None
        self._moves = Moves()
        self._meters: Mapping[int, str] = {}
        # whether the switch is known to have the program's flows and these meters
        self._sure = False
        self._looked = False
        self._needed, self._idle = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Start again what ends, while anything is to run; until cancelled."""
        while True:
            await self._needed.wait()
            assert self._daemons is not None
            async with asyncio.TaskGroup() as group:
                tending = group.create_task(self._daemons.tend(), name="open vswitch")
                await self._idle.wait()
                tending.cancel()

    async def follow(
        self, fabric: Fabric, site: Site, *, thorough: bool = False, remade: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Bring the switch to the fabric; says by key what failed and why, `switch:` for all of it.

        `remade` are keys of links that were made anew: the switch is to open those it has once more.
        """
        rows = layout.rows(fabric, site)
        try:
            if not rows:
                await self._leave_unless_gone(site)
                return {}
            await self._open(site, anew="switch:" in remade)
            self._idle.clear()
            self._needed.set()
            await self._configure(rows, remade)
            await self._join(fabric, site)
            assert self._ovsdb is not None
            assigned = await self._ovsdb.assigned()
            ofports = layout.ofports(assigned.numbers)
            await self._put_flows(fabric, site, ofports, thorough=thorough)
            await self._announce(fabric, site, ofports)
            return assigned.errors
        except NetError as error:
            self._program, self._sure = None, False
            return {"switch:": str(error)}

    async def plan(self, fabric: Fabric, site: Site) -> tuple[Step[OvsRow | Flow], ...]:
        """What `follow` would do; changes and starts nothing. Unavailable when what runs does not answer."""
        rows = layout.rows(fabric, site)
        daemons = self._daemons or (self._make(site) if site.datapath else None)
        if daemons is None or (await daemons.find()) is None:
            return differences.steps(rows, {}, {}, ())
        if self._ovsdb is None or self._openflow is None:  # an earlier process's, which the next round takes over
            return ()
        there = await self._ovsdb.observe()
        ofports = layout.ofports(await self._ovsdb.ofports())
        mark = tables.instance_hash(site.instance)
        flows = compile_flows(fabric, site.machine, ofports, zones=layout.zones(site), instance=mark) if rows else {}
        dumped = await self._openflow.dump(layout.bridge(site.instance)) if "bridge:" in there else ()
        return differences.steps(rows, there, flows, map(parse_flow, dumped))

    async def leave(self, site: Site) -> None:
        """Take away what is ours, and end our daemons. NetError."""
        self._needed.clear()
        self._idle.set()
        daemons = self._daemons or self._make(site)
        if await daemons.find() is not None:
            await self._open(site)
            assert self._ovsdb is not None
            await self._ovsdb.apply({})
            await self._let_go()
            await daemons.stop()
        self._daemons, self._looked = None, True

    async def close(self) -> None:
        """Let go; everything runs on."""
        await self._let_go()
        if self._daemons is not None:
            self._daemons.close()
            self._daemons = None

    async def _let_go(self) -> None:
        if self._ovsdb is not None:
            await self._ovsdb.close()
        self._ovsdb = self._openflow = self._program = None
        self._sure = False

    async def _leave_unless_gone(self, site: Site) -> None:
        """An earlier process may have left something."""
        if site.datapath and (self._daemons is not None or not self._looked):
            await self.leave(site)

    def _make(self, site: Site) -> Instance:
        async def launch(start: Callable[[], None]) -> None:
            await self._hands.do(lambda kernel: kernel.at_switch(site.switch_path, start))

        system = None if site.switch_path else SYSTEM
        return Instance(self._rundir, self._rundir, system=system, restarted=self._restarted, launch=launch)

    def _restarted(self) -> None:
        self._sure = False
        self._wake()

    async def _open(self, site: Site, *, anew: bool = False) -> None:
        if self._daemons is None:
            self._daemons = self._make(site)
        if anew:  # what runs is in a namespace that is gone
            await self._daemons.stop()
        if self._ovsdb is None or not self._daemons.alive():
            await self._let_go()
            paths = await self._daemons.ensure()
            self._ovsdb = Ovsdb(paths.db, self._instance_id)
            self._openflow = OpenFlow(paths)

    async def _configure(self, rows: Mapping[str, OvsRow], remade: Collection[str]) -> None:
        assert self._ovsdb is not None
        stale = {UPLINK_PORT if key == "switch:" else key for key in remade}
        for wanted in ({key: row for key, row in rows.items() if key not in stale}, rows) if stale else (rows,):
            if number := await self._ovsdb.apply(wanted):
                await self._ovsdb.settled(number)

    async def _join(self, fabric: Fabric, site: Site) -> None:
        """Tunnels of the datapath in user space leave by a bridge that it makes, with addresses that we give."""
        if site.switch_path and site.machine in fabric.endpoints:
            transit, name = of_tenant(site, SWITCH), layout.underlay(site.instance)
            own, gateways = (transit.tenant4, transit.tenant6), (transit.host4.ip, transit.host6.ip)
            await self._hands.do(lambda kernel: kernel.join_switch(name, own, gateways, site.mtu))

    async def _put_flows(self, fabric: Fabric, site: Site, ofports: Ofports, *, thorough: bool) -> None:
        assert self._openflow is not None
        assert self._daemons is not None
        bridge = layout.bridge(site.instance)
        added, removed = self._take(fabric, site, ofports)
        assert self._program is not None
        sure, self._sure = self._sure, False
        wanted = meters(fabric, site.machine, ofports)
        known = self._meters if sure and not thorough else await self._openflow.meters(bridge)
        different = [line for number, line in wanted.items() if _words(known.get(number, "")) != _words(line)]
        await self._openflow.set_meters(bridge, different)
        if sure and not thorough:
            if added or removed:
                await self._openflow.change(bridge, _lines(added), _lines(removed))
        else:
            await self._openflow.replace(bridge, _lines(self._program.flows.values()))
            await self._daemons.programmed()
        await self._openflow.set_meters(bridge, (), known.keys() - wanted.keys())
        self._meters, self._sure = wanted, True

    def _take(self, fabric: Fabric, site: Site, ofports: Ofports) -> Change:
        if self._program is not None:
            return self._program.take(fabric, site, ofports)
        self._program = Program(fabric, site, ofports, self._moves)
        return [], []

    async def _announce(self, fabric: Fabric, site: Site, ofports: Ofports) -> None:
        """Tell this machine's ports of a network which addresses are another port's now."""
        assert self._openflow is not None
        for port in [fabric.ports[key] for key in sorted(self._moves.untold) if key in fabric.ports]:
            near = (one.id for one in fabric.on(port.on).values() if one.machine == site.machine and one != port)
            numbers = sorted(ofports.ports[id] for id in near if id in ofports.ports)
            for frame in announce.frames(port.mac, (address.ip for address in port.addresses)):
                await self._openflow.send(layout.bridge(site.instance), frame, numbers)
        self._moves.untold.clear()


def _words(line: str) -> list[str]:
    """What a meter's line says, in whichever notation."""
    return re.findall(r"\w+", line)


def _lines(flows: Iterable[Flow]) -> list[str]:
    return [format_flow(flow) for flow in flows]
