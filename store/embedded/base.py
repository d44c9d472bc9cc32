"""What the parts of an engine stand on: the keys in memory, changed by groups of requests (groups.py) as they become
durable, the feed of what changed (feed.py), and the leases on the loop's clock (lessor.py).

How a group is made durable is the subclass's (`persist`): at once in memory, by a writer thread on disk. An ended lease
is one more request of the next group. The parts are what clients ask for (engine.py), leases (leasing.py), and what
operators ask for (upkeep.py).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..errors import Compacted
from ..kv import WatchBatch
from .ageing import Ageing
from .draft import Draft
from .feed import Feed
from .groups import Groups, Request
from .keyspace import FIRST_REVISION, Keyspace
from .lessor import Lessor
from .past import Entries, Wanted

RING = 10_000


class Base:
    """State and durability; one event loop, opened and closed on it."""

    def __init__(
        self, keys: Keyspace, ttls: Mapping[int, float], *, ring: int = RING, age: float | None = None
    ) -> None:
        self.keys = keys
        for lease in ttls:
            keys.leases.setdefault(lease, set())
        self.feed = Feed(keys.revision, ring)
        self.lessor = Lessor(ttls, lambda lease: self.groups.post(lambda draft: draft.end(lease)))

        def merged(draft: Draft) -> None:
            self.lessor.follow(draft)
            self.feed.tell(draft.batches)
            keys.changes.trim(self.kept_from() - 1)

        self.groups = Groups(lambda: Draft(keys, self.room()), self.persist, merged)
        self.ageing = Ageing(age, keys, lambda upto: self.groups.post(lambda draft: draft.compact(upto)))

    @property
    def revision(self) -> int:
        """The revision of the last change that is durable; an empty store's is 1."""
        return self.keys.revision

    @property
    def compacted(self) -> int:
        """The oldest revision that can be read, when anything before it is gone; 0 when everything is there."""
        return self.kept_from() - 1

    @property
    def meta(self) -> Mapping[str, bytes]:
        """Small durable values outside the keys, as of the last group: change them with `set_meta`."""
        return MappingProxyType(self.keys.meta)

    async def set_meta(self, name: str, value: bytes | None) -> None:
        """Set a value, or remove it (None); durable when this returns, in the group with the changes around it. It is
        no change of the keys: the revision stays."""
        await self.groups.submit(lambda draft: draft.note(name, value))

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        """Make the draft durable, then call `groups.settle` on the loop; the subclass's part."""
        self.groups.settle(draft, requests, None)

    def room(self) -> int | None:
        """How many bytes may still be written, None: any number; the subclass's part when it has a quota."""
        return None

    def kept_from(self) -> int:
        """The first revision a watch may begin at; the subclass's part when it keeps a log."""
        dropped = self.feed.first - 1 if self.feed.first > FIRST_REVISION + 1 else 0
        return max(dropped, self.keys.compacted) + 1

    async def history(
        self, low: bytes, high: bytes | None, first: int, last: int
    ) -> tuple[list[WatchBatch[bytes]], int]:
        """A page of what is older than the ring (feed.History); the subclass's part when it keeps a log."""
        raise compacted(first, self.kept_from() - 1)

    async def lookup(self, wanted: Sequence[Wanted]) -> Entries:
        """What keys were at revisions, older than the ring (past.Lookup); the subclass's part when it keeps a log."""
        raise compacted(wanted[0][0], self.kept_from() - 1)


def compacted(revision: int, last: int) -> Compacted:
    """The error of who comes too late; `last` is the last compacted revision."""
    return Compacted(
        f"revision {revision} is no longer kept; range again and watch from the revision after its own", last
    )
