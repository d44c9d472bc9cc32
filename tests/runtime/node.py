"""A node to be killed: `python -m tests.runtime.node DATA RUN INSTANCE IMAGES ID` runs a container and says so."""

import asyncio
import sys
from pathlib import Path

from hawser.runtime.agent import Runtime
from hawser.runtime.images import Images
from tests.runtime.tools import shell


async def main() -> None:
    data, run, instance, images, name = sys.argv[1:]
    runtime = Runtime(Path(data), Path(run), instance, Images(Path(images)))
    await runtime.open()
    await runtime.create(shell("echo up; sleep 1000", id=name))
    print("created", flush=True)
    await runtime.start(name)
    print("started", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
