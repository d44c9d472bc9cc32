"""Tasks beside a block of code, which are its own: they end with it, and it ends with them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def background(*parts: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.TaskGroup]:
    """Run `parts` during the block and cancel them at its end. A part that fails ends the block and is raised (in a
    group, as a TaskGroup does); what the block raises is raised as it is, not in a group of one. The block may add
    tasks to the group it is given, and ends those itself."""
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        try:
            yield group
        except BaseException as error:
            failure = error
        for task in tasks:
            task.cancel()
    if failure is not None:
        raise failure
