"""Read a watch in tests: always with a deadline."""

import asyncio
from collections.abc import AsyncIterator

from typing_extensions import TypeVar

from hawser.store import EventKind, WatchBatch

K = TypeVar("K", str, bytes, default=str)


async def take(batches: AsyncIterator[WatchBatch[K]], count: int) -> list[WatchBatch[K]]:
    """The next `count` batches, within 15 s."""
    async with asyncio.timeout(15):
        return [await anext(batches) for _ in range(count)]


def told(batches: list[WatchBatch]) -> list[str]:
    """What a person would say of the events: `+key=value` and `-key`, batch by batch."""
    return [
        " ".join(
            f"+{event.kv.key}={event.kv.value.decode()}" if event.kind is EventKind.PUT else f"-{event.kv.key}"
            for event in batch.events
        )
        for batch in batches
    ]
