"""Wait for a condition, never for a time."""

import asyncio
import time
from collections.abc import Callable

STEP = 0.005


def until(condition: Callable[[], object], *, timeout: float = 15.0, what: str = "the condition") -> None:
    """Poll until `condition` holds; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout:g} s"
        time.sleep(STEP)


async def auntil(condition: Callable[[], object], *, timeout: float = 15.0, what: str = "the condition") -> None:
    """As `until`, on the event loop."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout:g} s"
        await asyncio.sleep(STEP)
