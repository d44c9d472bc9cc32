"""How far a watch has come, and its responses as whole revisions. Pure.

A revision's events may come in several responses (fragments); they are held until the next revision begins or the
response says that nothing is held back. What came before is dropped, so a watch that is begun again a little early
repeats nothing.
"""

from ...kv import Event, WatchBatch
from .. import etcd_pb2 as pb
from .codec import event


class Cursor:
    """`next` is the first revision that has not been handed on."""

    def __init__(self, first: int) -> None:
        self.next = first
        self._held: list[Event[bytes]] = []

    def take(self, response: pb.WatchResponse) -> list[WatchBatch[bytes]]:
        """The revisions that are whole now."""
        whole = list[WatchBatch[bytes]]()
        for told in response.events:
            revision = told.kv.mod_revision
            if revision < self.next:
                continue
            if self._held and self._held[-1].kv.mod_revision != revision:
                whole.append(self._flush())
            self._held.append(event(told))
        if self._held and not response.fragment:
            whole.append(self._flush())
        return whole

    def passed(self, revision: int) -> None:
        """Everything up to a revision was told."""
        if not self._held:
            self.next = max(self.next, revision + 1)

    def again(self) -> int:
        """Where to begin after an interruption; what was not whole comes again.

        etcd ends a watch that begins before the last compacted revision, but not one that begins at it, where a delete
        is already forgotten. One revision earlier turns that silent gap into an error.
        """
        self._held.clear()
        return max(self.next - 1, 1)

    def _flush(self) -> WatchBatch[bytes]:
        batch = WatchBatch(revision=self._held[-1].kv.mod_revision, events=tuple(self._held))
        self._held = []
        self.next = batch.revision + 1
        return batch
