"""The Lock service: one holder at a time, in the order of coming; the key that is answered is the holder's as long as
it is there, and its create revision fences."""

import asyncio

from .. import etcd_pb2 as pb
from .calls import Caller
from .kv import Kv
from .queue import Queue, own_revision, place


class Lock:
    """Over the KV service."""

    def __init__(self, kv: Kv, queue: Queue) -> None:
        self._kv, self._queue = kv, queue

    async def lock(self, request: pb.LockRequest, caller: Caller) -> pb.LockResponse:
        """Waits until the lock is free. Who gives up waiting leaves the line."""
        prefix = request.name + b"/"
        lease = await self._queue.lease(request.lease, caller)
        entered = await self._queue.enter(prefix, lease, b"", caller)
        key, revision = place(prefix, lease), own_revision(entered)
        owner = entered.responses[1].response_range.kvs
        if not owner or owner[0].create_revision == revision:
            return pb.LockResponse(header=entered.header, key=key)
        try:
            header = await self._queue.wait(prefix, revision, caller)
            await self._queue.still(key, revision, caller)
        except (Exception, asyncio.CancelledError):
            await self._queue.leave(key, revision, caller)
            raise
        return pb.LockResponse(header=header, key=key)

    async def unlock(self, request: pb.UnlockRequest, caller: Caller) -> pb.Done:
        deleted = await self._kv.delete_range(pb.DeleteRangeRequest(key=request.key), caller)
        return pb.Done(header=deleted.header)
