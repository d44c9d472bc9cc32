"""Others' namespaces on tenants' networks, for as long as they live.

Whoever uses `hawser net attach` does not say when he is done, and may be killed; the kernel knows. A namespace lives
while a process is in it (namespaces(7): /proc/PID/ns/net), or while the path by which it was brought leads to it. The
node's own mount (`<run>/netns/NAME`) keeps it from vanishing before its interfaces are taken down in order, and counts
for nothing. One process of each is watched by a pidfd (pidfd_open(2)), so that its end is noticed at once, however it
came; everything else is found by a look now and then, at the node's start above all: an attachment outlives the node.
"""

import asyncio
import contextlib
import logging
import os
import random
import select
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from hawser.netd.agent import NetAgent
from hawser.netd.errors import NetError
from hawser.netd.model import LINK
from hawser.store import StoreError
from hawser.store.loop import reconcile_loop

OWNER = "attach"
OWN = Path("/proc/self/ns/net")
INTERVAL, AGAIN = 15.0, 1.0
BY_PATH = 0
log = logging.getLogger("hawser.guests")
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class Guests:
    """The namespaces of owner `attach`; `changed` is called when one has gone."""

    def __init__(self, net: NetAgent, directory: Path, changed: Callable[[], None]) -> None:
        """`directory` is where the node keeps namespaces."""
        self._net = net
        self._directory = directory
        self._changed = changed
        self._wake = asyncio.Event()
        self._watched: dict[str, int] = {}

    async def run(self) -> None:
        """Let go of what is gone until cancelled."""
        try:
            await reconcile_loop(self._once, self._wake, INTERVAL)
        finally:
            for sandbox in list(self._watched):
                self._forget(sandbox)

    def wake(self) -> None:
        """There is a new one to watch."""
        self._wake.set()

    async def _once(self) -> float | None:
        return None if await self.collect() else AGAIN * (1 + random.random())

    async def collect(self) -> bool:
        """Take away what is attached to namespaces that are gone, and watch the others; whether all could be done."""
        done = True
        for sandbox in self._watched.keys() - self._net.sources(OWNER).keys():
            self._forget(sandbox)
        for sandbox in sorted(self._net.sources(OWNER)):
            try:
                async with turn(sandbox):
                    await self._look(sandbox)
            except (NetError, StoreError, OSError) as error:
                log.warning("attachment %s: %s; trying again", sandbox, error)
                done = False
        return done

    async def _look(self, sandbox: str) -> None:
        """See to one; NetError, StoreError when it is to go and cannot yet."""
        source, watched = self._net.sources(OWNER).get(sandbox), self._watched.get(sandbox)
        if source is None or (watched is not None and not ended(watched)):
            return
        self._forget(sandbox)
        if source.startswith(LINK):  # it stays until it is detached, but not longer
            pid = BY_PATH if self._net.attachments(sandbox) else None
        else:
            pid = await asyncio.to_thread(holder, self._directory / sandbox, Path(source))
        if pid is None:
            await self._net.remove_sandbox(sandbox)
            self._changed()
        elif pid != BY_PATH:
            self._watch(sandbox, pid)

    def _watch(self, sandbox: str, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # it has just ended
            self.wake()
            return
        self._watched[sandbox] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._ended, sandbox)

    def _ended(self, sandbox: str) -> None:
        self._forget(sandbox)
        self.wake()

    def _forget(self, sandbox: str) -> None:
        pidfd = self._watched.pop(sandbox, None)
        if pidfd is not None:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)


@asynccontextmanager
async def turn(sandbox: str) -> AsyncIterator[None]:
    """One caller at a time for a sandbox, in the order they come."""
    lock = _turns.setdefault(sandbox, asyncio.Lock())
    async with lock:
        yield


def same(one: Path, other: Path) -> bool:
    """Whether two paths keep the same namespace; a path that cannot be looked at keeps none."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def ended(pidfd: int) -> bool:
    """Whether the process of a pidfd is gone, or a zombie."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def holder(kept: Path, source: Path) -> int | None:
    """A process in the namespace at `kept`, BY_PATH when there is none but `source` leads to it, None when it is gone.
    Looks at every process of the machine."""
    found = next(inside(kept), None)
    if found is not None:
        return found
    return BY_PATH if source != kept and same(kept, source) else None


def inside(namespace: Path) -> Iterator[int]:
    """The processes in a network namespace, as far as this process may see them."""
    try:
        wanted = os.stat(namespace)
    except OSError:
        return
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                if os.path.samestat(os.stat(f"/proc/{entry}/ns/net"), wanted):
                    yield int(entry)
