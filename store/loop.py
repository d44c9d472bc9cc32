"""The agent's loop: reconcile when something happened, when a retry is due, and now and then anyway."""

import asyncio
from collections.abc import Awaitable, Callable


async def reconcile_loop(once: Callable[[], Awaitable[float | None]], wake: asyncio.Event, interval: float) -> None:
    """Call `once` for ever: after `wake`, after the seconds `once` returned (its next retry), or after `interval`.

    A wake while `once` runs is not lost. `once` keeps its steps' failures to itself (`Retries`); what it raises ends
    the loop.
    """
    while True:
        wake.clear()
        again = await once()
        delay = interval if again is None else max(0.0, min(again, interval))
        try:
            async with asyncio.timeout(delay):
                await wake.wait()
        except TimeoutError:
            continue
