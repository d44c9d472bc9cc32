"""The scheduler's only door to what runs processes; hawser implements it on containers, networks and the mesh.

A unit's context is everything made for it: a container with its network, or a process group of the host. Laws, proven
by one suite for every implementation: when `start` has returned, `observe` shows the new process (running, or already
ended), whatever an earlier start left; an ended process stays visible until `clear` or the next `start`; after `stop`
or `clear` nothing of the unit runs; a cancelled call leaves nothing running that a later `stop` or `clear` would miss;
a process outlives this object and is seen by the next one. Errors carry `kind` (see errors.py) and a one-line reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .model import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A unit's main process; `hash` of the text it was started from; `signal` ended it, or 0; `code` counts without a
    signal only, None while it runs and when nobody knows; `started` in seconds since the epoch."""

    unit: str
    hash: str
    running: bool
    code: int | None = None
    signal: int = 0
    started: float | None = None


class UnitManager(Protocol):
    """What the agent asks for; calls for one unit come one at a time, for different units at once."""

    async def start(self, unit: Service) -> None:
        """Make the unit's context, replacing an ended one, and start `unit.command` in it with `unit.environment`."""
        ...

    async def run(self, unit: Service, argv: Sequence[str], *, host: bool, timeout: float) -> int:
        """Run one command to its end and return its exit code (128 + signal when killed).

        On the host when `host` or the unit has no container; else inside its running container, or in a short-lived
        one of the same kind when it does not run. Killed when cancelled, and after `timeout` seconds (may be infinite):
        then a code that is not 0, or an error.
        """
        ...

    async def stop(self, unit: Service, timeout: float) -> None:
        """`unit.kill_signal`, then SIGKILL to everything of the unit after `timeout` seconds; nothing when not
        running. The unit stops being announced; what it wrote stays until `clear`."""
        ...

    async def clear(self, name: str) -> None:
        """Remove the unit's context, killing what still runs in it; nothing when absent."""
        ...

    def observe(self) -> Mapping[str, Process]:
        """By unit name: every unit process that exists, running or ended."""
        ...
