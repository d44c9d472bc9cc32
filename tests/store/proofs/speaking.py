"""The embedded engine served in etcd's protocol by a process to be killed:
`python -m tests.store.proofs.speaking DIRECTORY HOST:PORT`. It says `open` when it answers."""

import asyncio
import sys
from pathlib import Path

import uvloop

from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.etcd.server import serving

RING = 32  # so that a watch that resumes reads the log


async def serve(directory: Path, address: str) -> None:
    engine = await SqliteEngine.open(directory, keep=None, ring=RING)
    async with serving(engine, [address]):
        print("open", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), sys.argv[2]))
