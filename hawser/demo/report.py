"""How the demo is told: a line for each step as it happens, then a table; or one JSON document."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..table import render


@dataclass(slots=True)
class Claim:
    """One thing that was checked; `figure` is what was measured on the way, in words."""

    text: str
    held: bool
    figure: str = ""


@dataclass(slots=True)
class Report:
    """Claims in order; quiet when the answer is JSON."""

    quiet: bool = False
    claims: list[Claim] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def chapter(self, text: str) -> None:
        """A heading."""
        self._say(f"\n== {text}")

    def note(self, text: str) -> None:
        """Something to know, nothing to check."""
        self._say(f"   {text}")

    def claim(self, text: str, held: object, figure: str = "") -> None:
        """A checked claim."""
        self.claims.append(Claim(text, bool(held), figure))
        self._say(f"{'ok ' if held else 'NOT'} {text}" + (f"  [{figure}]" if figure else ""))

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Measure a block; the figure in milliseconds is kept under `name`."""
        begin = time.monotonic()
        yield
        self.figures[name] = (time.monotonic() - begin) * 1e3

    def took(self, name: str) -> str:
        """A figure in words."""
        milliseconds = self.figures[name]
        return f"{milliseconds / 1e3:.2f} s" if milliseconds >= 1e3 else f"{milliseconds:.1f} ms"

    def held(self) -> bool:
        """Whether there were claims and every one was true."""
        return bool(self.claims) and all(claim.held for claim in self.claims)

    def finish(self) -> None:
        """The table, or the JSON document."""
        seconds = time.monotonic() - self.started
        if self.quiet:
            print(json.dumps(self._document(seconds), indent=2))
            return
        rows = [(claim.text, "yes" if claim.held else "NO", claim.figure) for claim in self.claims]
        print("\n" + render(("CLAIM", "HELD", "MEASURED"), rows))
        failed = sum(not claim.held for claim in self.claims)
        verdict = f"{failed} did NOT hold" if failed else "all held"
        print(f"\n{len(self.claims)} claims checked in {seconds:.1f} s, {verdict}.")

    def _document(self, seconds: float) -> dict[str, Any]:
        return {
            "ok": self.held(),
            "seconds": round(seconds, 3),
            "claims": [{"claim": c.text, "held": c.held, "measured": c.figure} for c in self.claims],
            "milliseconds": {name: round(value, 3) for name, value in self.figures.items()},
        }

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(text)
            sys.stdout.flush()
