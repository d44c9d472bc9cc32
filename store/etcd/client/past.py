"""What is gone and what is yet to come: where a watch begins, and the errors of who asks for too much."""

from ...errors import Compacted, Future, Invalid, Unavailable
from .. import etcd_pb2 as pb
from .. import services
from . import codec
from .calls import Calls, Watches

FIRST_REVISION = 1
COMPACTION_TOLD_WITHIN = 1.0


class Past:
    """Questions about revisions. `key` is one that the caller may read."""

    def __init__(self, calls: Calls, watches: Watches) -> None:
        self._calls, self._watches = calls, watches

    async def begin(self, key: bytes, wanted: int | None) -> tuple[int, int]:
        """The revision now, of the whole cluster whichever member answers, and a watch's first. Compacted, Invalid."""
        if wanted is not None and wanted < FIRST_REVISION:
            raise Invalid(f"revision {wanted} makes no sense; an empty store's is {FIRST_REVISION}")
        first = None if wanted is None else max(wanted, FIRST_REVISION + 1)
        request = pb.RangeRequest(key=key, count_only=True, revision=0 if first is None else first - 1)
        try:
            now = (await self._calls.call(services.RANGE, request, repeatable=True)).header.revision
        except Future:
            assert first is not None
            return first - 1, first
        except Compacted:
            raise await self.compacted(key, wanted or 0) from None
        return now, now + 1 if first is None else first

    async def future(self, key: bytes, revision: int) -> Future:
        """The error with the revision now."""
        request = pb.RangeRequest(key=key or b"\0", count_only=True)
        last = (await self._calls.call(services.RANGE, request, repeatable=True)).header.revision
        return Future(f"revision {revision} is yet to come; the store is at {last}")

    async def compacted(self, key: bytes, revision: int) -> Compacted:
        """The error with the last compacted revision, which etcd tells only to a watch that begins too early."""
        last = 0
        request = codec.watch_request(key or b"\0", None, False, ())
        try:
            async with self._watches.watch(request, FIRST_REVISION, known=True) as told:
                await told.wait(COMPACTION_TOLD_WITHIN)
        except Compacted as late:
            last = late.revision
        except Unavailable:
            pass
        what = f"revision {revision} is" if revision else "a revision asked for is"
        return Compacted(f"{what} no longer kept; range again and watch from the revision after its own", last)
