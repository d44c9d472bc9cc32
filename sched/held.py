"""A unit in the agent's hand: its meaning, its life, the action under way, and what was last told to the store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from . import lifecycle
from .compile import compile_unit
from .errors import Invalid
from .lifecycle import IDLE, Done, Due, Event, Exited, Life, Sub
from .manager import Process
from .model import Service
from .orders import Standing
from .records import Intent, State


class Work(Protocol):
    """A step under way, as asyncio's tasks are."""

    def cancel(self) -> bool:
        """Ask it to end; False when it has."""
        ...

    def cancelling(self) -> int:
        """How often it was asked to."""
        ...


@dataclass(slots=True, eq=False)
class Held:
    """One unit of this machine. `hash` is of the text that `life` is about, `meaning` of the one that `service` was
    read from (None: it means nothing, or nobody has it)."""

    name: str
    hash: str
    service: Service | None
    life: Life = field(default_factory=Life)
    seen: int = 0
    restart: int = 0
    bad: str = ""
    note: str = ""
    trouble: str = ""
    clear: bool = False
    cleared: str | None = None
    done: Done | None = None
    task: Work | None = None
    working: int | None = None
    published: bytes | None = None
    meaning: str = ""

    @property
    def standing(self) -> Standing:
        return Standing(hash=self.hash, life=self.life, seen=self.seen, restart=self.restart)

    def events(self, process: Process | None, now: float) -> Iterator[Event]:
        """What has happened to the unit; an exit comes before the end of the action that caused it."""
        if self.life.main and (process is None or not process.running):
            code = process.code if process is not None and not process.signal else None
            yield Exited(code, process.signal if process is not None else 0)
        if self.done is not None:
            done, self.done = self.done, None
            yield done
        if self.life.deadline is not None and self.life.deadline <= now:
            yield Due()

    def match(self, intent: Intent | None, texts: "Texts") -> None:
        """Read the text that the life is about, if it has come back after another one had been wanted."""
        if intent is not None and intent.hash == self.hash != self.meaning:
            self.service, self.bad = texts.read(intent)
            self.meaning = intent.hash

    def become(self, intent: Intent, texts: "Texts") -> None:
        """Go on as the wanted text, from the beginning."""
        self.hash = self.meaning = intent.hash
        self.service, self.bad = texts.read(intent)
        self.life = Life(step=self.life.step + 1)
        self.seen = 0

    def state(self, boot: str) -> State:
        """How it fares, for the store."""
        return State(
            hash=self.hash,
            load="bad-setting" if self.bad else "loaded",
            active=self.life.active,
            sub=str(self.life.sub),
            reason=self.trouble or self.bad or self.note or self.life.reason,
            seen=self.seen,
            restart=self.restart,
            boot=boot,
            life=self.life,
        )


class Texts:
    """Reads unit texts; `specifiers` are the machine's (%H, %m)."""

    def __init__(self, specifiers: Mapping[str, str]) -> None:
        self._specifiers = specifiers

    def read(self, intent: Intent) -> tuple[Service | None, str]:
        """The service, or None and why the text means nothing to this version."""
        try:
            return compile_unit(intent.name, intent.text, self._specifiers), ""
        except Invalid as error:
            return None, str(error)


def hold(
    name: str, intent: Intent | None, state: State | None, process: Process | None, texts: Texts, now: float
) -> Held:
    """Take a unit up: from the last agent's state, from its process, or as new.

    A process of the wanted text is adopted; one of another text is stopped first; what has neither text nor wish is
    only cleared.
    """
    running = process is not None and process.running
    life = state.life if state is not None else Life()
    if life.deadline is not None and life.deadline > now + lifecycle.MAX_DEADLINE:
        life = replace(life, deadline=now)
    if intent is None:
        return Held(name, state.hash if state else "", None, life=Life(step=life.step))
    service, bad = texts.read(intent)
    held = Held(name, intent.hash, service, bad=bad, meaning=intent.hash)
    held.seen, held.restart = (state.seen, state.restart) if state else (0, intent.restart)
    before = process.hash if process is not None and running else state.hash if state is not None else intent.hash
    if service is None or before != intent.hash:
        held.hash, held.seen = before, 0
        if running:
            stopping = Life(sub=Sub.STOP_SIGTERM, step=life.step + 1, halt=True, main=True)
            held.life = stopping if service is not None else Life(step=life.step + 1)
        return held
    held.life = lifecycle.resume(service, life, running, now)
    if held.life.sub not in IDLE and state is None:
        held.seen = intent.revision
    return held
