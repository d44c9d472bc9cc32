"""How far something is, on standard error: a bar that moves at a terminal, else a line now and then."""

import sys
import time

WIDTH, EVERY, REDRAW = 30, 1.0, 0.1


class Bar:
    """`show` may be called as often as one likes; `end` leaves the last state standing."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._phase, self._told, self._text = "", 0.0, ""

    def show(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` in a phase."""
        now = time.monotonic()
        if phase != self._phase:
            self.end()
            self._phase = phase
        elif done < total and now < self._told + (REDRAW if self._terminal else EVERY):
            return
        self._told = now
        whole = max(total, done, 1)
        if self._terminal:
            full = WIDTH * done // whole
            text = f"{phase:>8} [{'#' * full}{'.' * (WIDTH - full)}] {done}/{total}"
            print(f"\r{text.ljust(len(self._text))}", end="", file=sys.stderr, flush=True)
        else:
            text = f"{phase} {done}/{total}"
            if text != self._text:
                print(text, file=sys.stderr, flush=True)
        self._text = text

    def end(self) -> None:
        """Go on below."""
        if self._terminal and self._text:
            print(file=sys.stderr, flush=True)
        self._text = ""
