"""Flows, meters and counters of a bridge, in the words of ovs-ofctl(8).

A change is one bundle (OpenFlow 1.4 §7.3.9): packets see all of it or nothing, and so does the switch when one line is
refused. `ovs-ofctl` is the encoder: a call costs 3 ms, 10 with a thousand lines, and it knows every match
and action that there will be. It speaks to the bridge's own socket, so nothing depends on its environment.
Meters are not part of a bundle (OpenFlow 1.4 has none of them there): they are made before the flows that
use them, and go after those.
"""

import asyncio
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ...errors import NetError, NotFound, Unavailable
from . import rpc
from .instance import Paths
from .programs import find

VERSION = "OpenFlow14"
# with names it asks for the features of all 254 tables first, 6 ms
QUIET = ("--no-names", "-vconsole:off", "-vsyslog:off")
TIMEOUT = 30.0
ACTIONS = re.compile(r",?\s*actions=.*")
# what names no flow, or is only seen in a dump: ovs-ofctl(8), "Flow Syntax"
UNNAMED = re.compile(
    r"(?:^|(?<=[,\s]))(?:cookie=[^,\s]+|(?:duration|n_packets|n_bytes|idle_age|hard_age|idle_timeout|hard_timeout|importance)"
    r"=[^,\s]+|reset_counts|send_flow_rem|check_overlap)[,\s]*"
)
COUNTERS = re.compile(r"cookie=(0x[0-9a-f]+|0),.*?n_packets=(\d+), n_bytes=(\d+)")
METER = re.compile(r"meter=(\d+)\b")


@dataclass(frozen=True, slots=True)
class Counter:
    """What the flows with one cookie have counted."""

    packets: int
    bytes: int


class OpenFlow:
    """The flows of one instance's bridges. All calls: Unavailable when the bridge does not answer, NetError with the
    switch's or ovs-ofctl's first line when it refuses."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._ofctl = str(find().ofctl)

    async def connected(self, bridge: str) -> bool:
        """Whether the bridge answers."""
        try:
            await self._run("show", bridge)
        except NetError:
            return False
        return True

    async def dump(self, bridge: str) -> list[str]:
        """Its flows without counters, as the switch says them (names of ports in numbers), sorted by table and
        priority."""
        lines = (await self._run("dump-flows", bridge, options=("--no-stats", "--rsort"))).splitlines()
        return [line.strip() for line in lines if "actions=" in line]

    async def replace(self, bridge: str, lines: Sequence[str], groups: Sequence[str] = ()) -> None:
        """Have just these flows, in one bundle: those that are there and right are not touched and keep their counters.

        `groups` are added first, or changed where they are there.
        """
        if groups:
            await self._bundle(bridge, [f"group add_or_mod {group}" for group in groups])
        await self._run(
            "replace-flows", bridge, "-", options=("--bundle",), text="".join(f"{line}\n" for line in lines)
        )

    async def change(self, bridge: str, added: Sequence[str], removed: Sequence[str] = ()) -> None:
        """Add flows and remove others in one bundle.

        A flow with the same table, priority and match is written over. `removed` are matches or whole flows: what is
        not in a flow's name (cookie, actions) is ignored; one that is not there is none to remove. Removals come first.
        """
        removals = [f"flow delete_strict {name_of(line)}" for line in removed]
        await self._bundle(bridge, [*removals, *(f"flow add {line}" for line in added)])

    async def groups(self, bridge: str, changed: Sequence[str], removed: Collection[int] = ()) -> None:
        """Add or change groups and remove others, with the flows that lead to them, in one bundle."""
        lines = [f"group add_or_mod {line}" for line in changed]
        await self._bundle(bridge, [*lines, *(f"group delete group_id={number}" for number in removed)])

    async def meters(self, bridge: str) -> dict[int, str]:
        """Its meters by number, as `meter=N kbps bands=…`."""
        text = await self._run("dump-meters", bridge)
        found = re.sub(r"\n(?!\s*meter=)", " ", text)
        lines = [" ".join(line.split()) for line in found.splitlines()]
        return {int(match[1]): line for line in lines if (match := METER.match(line))}

    async def set_meters(self, bridge: str, lines: Sequence[str], removed: Collection[int] = ()) -> None:
        """Add or change meters, each by itself; remove others, with the flows that use them."""
        if not lines and not removed:
            return
        known = await self.meters(bridge)
        for line in lines:
            match = METER.search(line)
            number = int(match[1]) if match else 0
            await self._run("mod-meter" if number in known else "add-meter", bridge, line)
        for number in removed:
            if number in known:
                await self._run("del-meter", bridge, f"meter={number}")

    async def counters(self, bridge: str, table: int | None = None) -> dict[int, Counter]:
        """Packets and bytes by cookie, summed over the flows of one table or of all that have it."""
        which = [] if table is None else [f"table={table}"]
        found: dict[int, Counter] = {}
        for line in (await self._run("dump-flows", bridge, *which)).splitlines():
            if match := COUNTERS.search(line):
                cookie = int(match[1], 16)
                before = found.get(cookie, Counter(0, 0))
                found[cookie] = Counter(before.packets + int(match[2]), before.bytes + int(match[3]))
        return found

    async def trace(self, bridge: str, flow: str, *, tracked: Sequence[str] = ()) -> str:
        """What would happen to a packet (ofproto/trace in ovs-vswitchd(8)), in the switch's words; it is not sent.

        `tracked` are states that conntrack is to give, one for each time the packet goes there, as `trk,est`; `trk,new`
        when there are too few. NotFound: no such bridge.
        """
        states = [part for state in tracked for part in ("--ct-next", state)]
        try:
            text: str = await rpc.call(self._paths.control, "ofproto/trace", bridge, flow, *states)
        except Unavailable:
            raise
        except NetError as error:
            raise (NotFound if "nknown bridge" in str(error) else NetError)(str(error)) from None
        return text

    async def send(self, bridge: str, frame: bytes, ports: Iterable[int]) -> None:
        """Send a frame out of these ports (packet-out), past the flows."""
        if outputs := ",".join(f"output:{port}" for port in ports):
            await self._run("packet-out", bridge, f"in_port=controller packet={frame.hex()} actions={outputs}")

    async def _bundle(self, bridge: str, lines: Sequence[str]) -> None:
        if lines:
            await self._run("bundle", bridge, "-", text="".join(f"{line}\n" for line in lines))

    async def _run(
        self, command: str, bridge: str, *arguments: str, options: Sequence[str] = (), text: str | None = None
    ) -> str:
        switch = f"unix:{self._paths.management(bridge)}"
        argv = (self._ofctl, "-O", VERSION, *QUIET, *options, command, switch, *arguments)
        pipe = asyncio.subprocess.PIPE
        stdin = asyncio.subprocess.DEVNULL if text is None else pipe
        process = await asyncio.create_subprocess_exec(*argv, stdin=stdin, stdout=pipe, stderr=pipe)
        try:
            async with asyncio.timeout(TIMEOUT):
                out, err = await process.communicate(None if text is None else text.encode())
        except TimeoutError:
            raise Unavailable(f"bridge {bridge} does not answer {command} within {TIMEOUT:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise _refusal(bridge, command, err.decode(errors="replace"))
        return out.decode(errors="replace")


def name_of(line: str) -> str:
    """What tells a flow from others: `table=N,priority=N,` and its match, fields in the order in which they are given.
    The priority is left out where it is not given (32768)."""
    parts = [part.strip() for part in UNNAMED.sub("", ACTIONS.sub("", line)).split(",")]
    first = [part for part in parts if part.startswith("table=")] or ["table=0"]
    then = [part for part in parts if part.startswith("priority=")]
    return ",".join((*first, *then, *(part for part in parts if part and part not in (*first, *then))))


def _refusal(bridge: str, command: str, text: str) -> NetError:
    lines = [line.strip().removeprefix("ovs-ofctl: ") for line in text.splitlines() if line.strip()]
    words = next((line for line in lines if not line.startswith(("OFPT_ERROR", "(***"))), "no reason given")
    if words.startswith(("connecting to", "failed to connect")) or "is not a bridge" in text:
        return Unavailable(f"bridge {bridge} does not answer: {words}")
    refused = next((line.partition(": ")[2] for line in lines if line.startswith("OFPT_ERROR")), "")
    return NetError(f"openflow on {bridge}: {command} refused: {refused or words}")
