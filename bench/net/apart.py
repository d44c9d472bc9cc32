"""Part of a measurement in a process apart from the machine: its own network and mount namespaces, its own directory.

`run` starts `python -m MODULE WORDS…` and returns what it prints as JSON; there, `main` isolates the process, has the
work done and leaves with everything it made: namespaces go with the mounts that keep them.
"""

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hawser.netd.drivers import netns

NEW_NAMESPACES = 0x00020000 | 0x40000000
MS_REC_PRIVATE = 16384 | 1 << 18


def run(module: str, *words: str) -> Any:
    """The answer of one process; None when it says so. CalledProcessError."""
    command = [sys.executable, "-m", module, *words]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout.strip().splitlines()[-1])


def settle(before: int) -> None:
    """Wait until the kernel has taken down the namespaces of a process that ended, or most of them."""
    deadline = time.monotonic() + 20
    while namespaces() > before + 50 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)


def namespaces() -> int:
    """How many network namespaces the kernel has, roughly: it counts by the slab."""
    for line in Path("/proc/slabinfo").read_text().splitlines():
        if line.startswith("net_namespace "):
            return int(line.split()[1])
    return 0


def main(work: Callable[[Path, list[str]], Coroutine[Any, Any, Any]]) -> None:
    """Do `work` in a directory with the command's words, print its answer, end."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NAMESPACES) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "this area needs root: cannot make namespaces")
    netns.lo_up()
    with tempfile.TemporaryDirectory(prefix="hw-bench-") as name:
        directory = Path(name)
        try:
            print("\n" + json.dumps(asyncio.run(work(directory, sys.argv[1:]))), flush=True)
        finally:
            for path in sorted(directory.rglob("*")):
                if path.is_file() and netns.alive(path):
                    netns.remove(path)
    os._exit(0)
