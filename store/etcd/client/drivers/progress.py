"""How far a stream's watches are, asked of the server; only of one whose answer is to be believed.

Before 3.4.31 and 3.5.13 etcd may answer ahead of events that the answer covers (etcd #15220, #17507), and who goes on
from there would miss them. Creations and answers overtake each other in all versions, so an answer is about the watches
that were there when it was asked for.
"""

import asyncio
from collections.abc import Callable

from ....errors import StoreError
from ... import etcd_pb2 as pb
from ...services import STATUS
from ..endpoints import Endpoint
from .pool import Pool

WITHIN = 1.0
Out = asyncio.Queue[pb.WatchRequest]


class Progress:
    """One question at a time, shared by all who ask meanwhile."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stream: tuple[Endpoint, Out] | None = None
        self._sound: bool | None = None
        self._asked: tuple[asyncio.Future[None], frozenset[int]] | None = None

    def opened(self, endpoint: Endpoint, out: Out) -> None:
        """There is a stream, to this member."""
        self._stream, self._sound = (endpoint, out), None

    def closed(self) -> None:
        """There is none; nobody will answer."""
        self._stream = None
        self.told()

    def told(self) -> frozenset[int]:
        """The answer came: the ids of the watches that it is about."""
        if self._asked is None:
            return frozenset()
        (answered, ids), self._asked = self._asked, None
        if not answered.done():
            answered.set_result(None)
        return ids

    async def ask(self, there: Callable[[], frozenset[int]]) -> None:
        """Ask, and wait for the answer; `there` gives the ids of the watches that the server has. Nothing when nobody
        can be asked, or believed."""
        if not await self._is_sound() or self._stream is None:
            return
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future(), there()
            self._stream[1].put_nowait(pb.WatchRequest(progress_request=pb.Empty()))
        await asyncio.wait([self._asked[0]], timeout=WITHIN)

    async def _is_sound(self) -> bool:
        if self._stream is None or self._sound is not None:
            return bool(self._sound)
        asked = self._stream
        try:
            status = await self._pool.call(STATUS, pb.Empty(), repeatable=True, at=asked[0], timeout=WITHIN)
        except StoreError:
            return False
        sound = tells_progress(status.version)
        if asked is self._stream:
            self._sound = sound
        return sound and asked is self._stream


def tells_progress(version: str) -> bool:
    """Whether a server of this version answers after the events that its answer covers, never before."""
    if "hawser" in version:
        return True
    try:
        major, minor, patch = (int(part.partition("-")[0]) for part in version.split(".")[:3])
    except ValueError:
        return False
    fixed = {(3, 4): 31, (3, 5): 13}.get((major, minor))
    return patch >= fixed if fixed is not None else (major, minor) >= (3, 6)
