"""A command of the machine, run to its end."""

import asyncio
import contextlib
from collections.abc import Sequence

NOT_FOUND, CANNOT, TIMED_OUT = 127, 126, 124


async def run(argv: Sequence[str], timeout: float) -> int:
    """The exit code, as shells say it: 128 + signal, 127 not found, 126 not executable, 124 after `timeout` seconds."""
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return NOT_FOUND
    except OSError:
        return CANNOT
    try:
        async with asyncio.timeout(timeout):
            code = await child.wait()
    except TimeoutError:
        return TIMED_OUT
    finally:
        with contextlib.suppress(ProcessLookupError):
            if child.returncode is None:
                child.kill()
                await child.wait()
    return code if code >= 0 else 128 - code
