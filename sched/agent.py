"""The agent of one machine: brings its units to what the store wants and tells the store how they fare.

One pass takes every unit through the events that have come (its process ended, an action ended, a deadline passed) and
then through the verdict on its orders (orders.py), until nothing moves; publishes the states that changed; then starts
the action each new life asks for. Passes never wait for actions: each is a task of its own, at most one a unit, so a
slow or failing unit holds up nobody. A state is published before its action begins, so that a new agent after a crash
finds where to go on; running processes of the wanted text are adopted as they are.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Set

from hawser.store import Store
from hawser.store.loop import reconcile_loop
from hawser.store.reconcile import Retries, Step, Verb

from . import lifecycle, orders, records
from .actions import Actions
from .drivers import host
from .held import Held, Texts, hold
from .lifecycle import Start, Stop
from .manager import Process, UnitManager
from .mirror import Mirror
from .model import Dependencies, Desired
from .orders import Fellow, Verdict
from .records import Intent
from .states import States

INTERVAL = 30.0
AGAIN = 1.0
MAX_EVENTS = 64
NO_DEPENDENCIES = Dependencies()
log = logging.getLogger(__name__)


class Agent:
    """The units of `machine`. `boot` names the machine's boot: states of another boot do not count."""

    def __init__(
        self,
        store: Store,
        machine: str,
        manager: UnitManager,
        *,
        boot: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._machine = machine
        self._manager = manager
        self._boot = host.boot_id() if boot is None else boot
        self._clock = clock
        self._texts = Texts({"H": host.hostname(), "m": machine})
        self._wake = asyncio.Event()
        self._passed = asyncio.Event()
        self._mirror = Mirror(store, self._wake.set)
        self._held: dict[str, Held] = {}
        self._states = States(store, machine, self._boot)
        self._clears = Retries()

    def wake(self) -> None:
        """Look again: a process has started or ended."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the units as wanted, until cancelled; processes go on."""
        async with asyncio.TaskGroup() as group:
            actions = Actions(self._manager, group, self.wake)
            group.create_task(self._mirror.run(), name="agent-mirror")
            group.create_task(reconcile_loop(lambda: self._once(actions), self._wake, INTERVAL), name="agent-loop")

    async def plan(self) -> tuple[Step[str], ...]:
        """What is under way or about to be done, with reasons; changes nothing."""
        wanted = await self._asked()
        fellows = self._fellows(wanted)
        steps = []
        for name in sorted(self._held.keys() | wanted.keys()):
            held, intent = self._held.get(name), wanted.get(name)
            if held is None:
                steps.append(Step(verb=Verb.CREATE, key=name, reason="is wanted but not taken up yet", spec="load"))
                continue
            what, why = self._verdict(held, intent, fellows)
            if what not in (Verdict.NOTHING, Verdict.NOTE):
                verb = Verb.DELETE if intent is None else Verb.UPDATE
                steps.append(Step(verb=verb, key=name, reason=why, spec=str(what)))
            elif held.life.active.endswith("ing"):
                reason = held.life.reason or held.life.sub
                steps.append(Step(verb=Verb.UPDATE, key=name, reason=reason, spec=str(held.life.sub)))
        return tuple(steps)

    async def drain(self) -> None:
        """Return when every unit that the store does not want here is stopped and cleared; needs `run`."""
        while True:
            wanted = await self._asked()
            if self._states.loaded and not (self._held.keys() - wanted.keys()) and not self._states.gone:
                return
            self._passed.clear()
            await self._passed.wait()

    async def _once(self, actions: Actions) -> float | None:
        """One pass; returns the seconds until the next deadline."""
        if not self._mirror.ready.is_set():
            return None
        if not await self._states.load():
            return AGAIN
        now = self._clock()
        wanted, observed = self._wanted(), self._manager.observe()
        self._take_up(wanted.keys() | observed.keys(), observed, now)
        for _ in range(MAX_EVENTS):
            fellows = self._fellows(wanted)
            moved = [self._advance(name, wanted, observed, fellows, now) for name in sorted(self._held)]
            if not any(moved):
                break
        stored = await self._states.publish(self._held)
        for held in list(self._held.values()):
            actions.tend(held, self._clears.due(held.name, now))
        self._passed.set()
        return self._delay(stored, now)

    def _delay(self, stored: bool, now: float) -> float | None:
        deadlines = [held.life.deadline for held in self._held.values() if held.life.deadline is not None]
        deadlines += [] if stored else [now + AGAIN]
        again = self._clears.deadline()
        deadlines += [] if again is None else [max(again, now + 0.01)]
        return min(deadlines) - now if deadlines else None

    async def _asked(self) -> dict[str, Intent]:
        """What the store wants here at this moment, seen or not."""
        listed = await self._store.range(records.ROOT, prefix=True)
        return records.wanted({entry.key: entry for entry in listed.kvs}, self._machine)

    def _wanted(self) -> dict[str, Intent]:
        return records.wanted(self._mirror.entries, self._machine)

    def _take_up(self, names: Set[str], observed: Mapping[str, Process], now: float) -> None:
        """Hold every unit that is wanted, was known, or has a process; what is to go is stopped as its text says."""
        fresh = sorted((names | self._states.left) - self._held.keys())
        known = records.intents(self._mirror.entries) if fresh else {}
        for name in fresh:
            state = self._states.take(name)
            self._held[name] = hold(name, known.get(name), state, observed.get(name), self._texts, now)

    def _fellows(self, wanted: Mapping[str, Intent]) -> dict[str, Fellow]:
        fellows = {}
        for name, held in self._held.items():
            intent = wanted.get(name)
            launched = intent is not None and intent.state is Desired.LAUNCHED
            due = launched and intent is not None and intent.revision != held.seen
            dependencies = held.service.dependencies if held.service else NO_DEPENDENCIES
            fellows[name] = Fellow(life=held.life, dependencies=dependencies, launched=launched, due=due)
        return fellows

    def _verdict(self, held: Held, intent: Intent | None, fellows: Mapping[str, Fellow]) -> tuple[Verdict, str]:
        waits = lost = ""
        if held.service is not None and held.service.dependencies != NO_DEPENDENCIES:
            waits, lost = orders.waits_for(held.name, fellows), orders.lost(held.name, fellows)
        return orders.verdict(intent, held.standing, waits, lost)

    def _advance(
        self,
        name: str,
        wanted: Mapping[str, Intent],
        observed: Mapping[str, Process],
        fellows: Mapping[str, Fellow],
        now: float,
    ) -> bool:
        """Take one unit as far as it goes; returns whether its life moved."""
        held, intent, before = self._held[name], wanted.get(name), self._held[name].life
        held.match(intent, self._texts)
        for _ in range(MAX_EVENTS):
            life = held.life
            if held.service is not None:
                for event in held.events(observed.get(name), now):
                    held.life = lifecycle.advance(held.service, held.life, event, now)
            if held.life is life and not self._obey(held, intent, fellows, now):
                break
        else:
            log.error("unit %s does not come to rest in %s", name, held.life.sub)
        return held.life is not before

    def _obey(self, held: Held, intent: Intent | None, fellows: Mapping[str, Fellow], now: float) -> bool:
        """Act on the verdict; returns whether anything moved."""
        what, why = self._verdict(held, intent, fellows)
        held.note = why if what is Verdict.WAIT else ""
        held.clear = what is Verdict.CLEAR
        life = held.life
        if not held.clear and held.task is None:
            held.cleared = None
        if held.clear:
            return self._cleared(held, intent, now)
        if what in (Verdict.NOTE, Verdict.START) and intent is not None:
            held.seen = intent.revision
        if what is Verdict.STOP and held.service is not None:
            # stopped for another reason than an order to rest, a launch is owed again once that reason is gone
            loaded = intent is not None and intent.state is Desired.LOADED
            held.seen = intent.revision if intent is not None and loaded else 0
            held.life = lifecycle.advance(held.service, life, Stop(why), now)
        elif what is Verdict.START and intent is not None:
            held.restart = intent.restart
            if held.service is not None:
                held.life = lifecycle.advance(held.service, life, Start(), now)
        return held.life is not life

    def _cleared(self, held: Held, intent: Intent | None, now: float) -> bool:
        """Whether the end of a clearing let the unit go on: as its new text, or out of here."""
        if held.cleared is None:
            return False
        error, held.cleared = held.cleared, None
        if error:
            held.trouble = f"cannot be cleared: {error}"
            self._clears.failed(held.name, error, now)
            return False
        self._clears.succeeded(held.name)
        held.clear, held.trouble = False, ""
        if intent is None:
            del self._held[held.name]
            self._states.gone.add(held.name)
            return False
        held.become(intent, self._texts)
        return True
