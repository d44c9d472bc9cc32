"""What other machines do to their ports, learned from the watch and done here without a round.

A batch of the watch that only has ports of other machines in it is taken into the copy of the records and applied at
once (changes.py): no records are read, the kernel is not looked at. Everything else asks for a round: another kind of
record, one that cannot be read, a watch that begins anew, a step that fails or failed before, and every `interval` in
any case, since only a round sees what hands have done to the kernel.

`_revision` is the store's up to which the kernel has been told. What was loaded since, and not by a round, is known
here but not done, so what the watch says of it asks for a round, too.
"""

from collections.abc import Sequence
from math import inf

from hawser.store import Event, WatchBatch

from . import model, rounds, specs
from .changes import Affected, Change, affected
from .errors import NetError
from .objects.records import BOUND
from .shared import Shared

# records that say who has what, and nothing of what should be
BOOKS = (model.ADDRESSES, model.PUBLISHED, model.SANDBOXES, model.TRANSIT, model.VNIS)
# so many batches are worth a round
ROOM = 4096


class News:
    """What the watch said since the last round, every `interval` seconds at the latest."""

    def __init__(self, shared: Shared, interval: float) -> None:
        self._shared = shared
        self._interval = interval
        self._heard: list[WatchBatch] = []
        self._revision = 0
        self._due = -inf
        self._all = True

    def everything(self) -> None:
        """Look at everything next time."""
        self._all = True

    def hear(self, batch: WatchBatch) -> bool:
        """Note a batch; returns whether there is something to do for this machine."""
        events = self._of_others(batch.events)
        if events and len(self._heard) < ROOM and all(map(_of_port, events)):
            self._heard.append(WatchBatch(revision=batch.revision, events=tuple(events)))
        elif events:
            self._all = True
        return bool(events)

    def _of_others(self, events: Sequence[Event]) -> list[Event]:
        quiet = (f"{model.PORTS}{self._shared.machine}/", *BOOKS)  # what is written here is done here
        return [event for event in events if not event.kv.key.startswith(quiet) and not event.kv.key.endswith(BOUND)]

    def looked(self) -> None:
        """A round has been done with the records as they were last loaded."""
        self._revision = self._shared.intent.revision
        self._heard = [batch for batch in self._heard if batch.revision > self._revision]

    @property
    def due(self) -> float:
        """When the next round is due at the latest."""
        return self._due

    async def learn(self, now: float) -> bool:
        """Do what was heard; False when it takes a round, which is then the caller's."""
        failing = self._shared.intent.unreadable or self._shared.retries.statuses()
        if self._all or now >= self._due or failing or not await self._done():
            self._all, self._due = False, now + self._interval
            return False
        return True

    async def _done(self) -> bool:
        shared = self._shared
        heard, self._heard = self._heard, []
        found = self._affected([batch for batch in heard if batch.revision > self._revision])
        if found is None:
            return False
        standing = {key: shared.standing[key] for key in found.touched if key in shared.standing}
        if steps := specs.steps(found.desired, standing):
            outcome = await shared.hands.do(lambda kernel: rounds.run(steps, kernel.apply))
            shared.done(outcome.done)
            if outcome.failures:
                return False
        if found.switched and await shared.switch.follow(shared.intent.fabric, shared.site):
            return False
        self._revision = max([self._revision, *(batch.revision for batch in heard)])
        return True

    def _affected(self, batches: Sequence[WatchBatch]) -> Affected | None:
        """What batches touch, the records having learned of them; None when it takes a round."""
        shared = self._shared
        changes: list[Change] = []
        try:
            for batch in batches:
                if batch.revision <= shared.intent.revision:
                    return None
                changes += shared.intent.follow(batch)
        except NetError:
            return None
        for before, after in changes:
            shared.claims.moved(before, after)
        return affected(shared.intent.fabric, shared.site, changes)


def _of_port(event: Event) -> bool:
    return event.kv.key.startswith(model.PORTS)
