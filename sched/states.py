"""The states an agent publishes: read once at its start, written when they change, deleted with the unit."""

import logging
from collections.abc import Mapping

from hawser.store import DeleteOp, Op, PutOp, Store, StoreError

from . import records
from .held import Held
from .records import State

BATCH = 64
log = logging.getLogger(__name__)


class States:
    """The states of one machine; `gone` are units whose state is still to be deleted."""

    def __init__(self, store: Store, machine: str, boot: str) -> None:
        self._store = store
        self._prefix = records.state_key(machine, "")
        self._boot = boot
        self._left: dict[str, State] = {}
        self.loaded = False
        self.gone: set[str] = set()

    @property
    def left(self) -> set[str]:
        """Units of the last agent that nobody took up yet."""
        return set(self._left)

    async def load(self) -> bool:
        """Read what the last agent of this machine knew, once; False when the store does not answer."""
        if self.loaded:
            return True
        try:
            listed = await self._store.range(self._prefix, prefix=True)
        except StoreError as error:
            log.warning("states are not read: %s; trying again", error)
            return False
        for entry in listed.kvs:
            name = entry.key.removeprefix(self._prefix)
            self._left[name] = records.decode(entry.value, State) or State(hash="")
        self.loaded = True
        return True

    def take(self, name: str) -> State | None:
        """A unit's last state, once; of one from before a boot only what an order needs."""
        self.gone.discard(name)
        state = self._left.pop(name, None)
        if state is not None and state.boot != self._boot:
            return State(hash=state.hash, restart=state.restart)
        return state

    async def publish(self, units: Mapping[str, Held]) -> bool:
        """Write every state that changed; False when the store did not take them all."""
        pending: list[tuple[str, bytes | None]] = [(name, None) for name in sorted(self.gone)]
        for name, held in sorted(units.items()):
            state = records.encode(held.state(self._boot))
            if state != held.published:
                pending.append((name, state))
        try:
            for at in range(0, len(pending), BATCH):
                part = pending[at : at + BATCH]
                await self._store.txn([], [self._op(name, value) for name, value in part])
                for name, value in part:
                    self.gone.discard(name)
                    if value is not None:
                        units[name].published = value
        except StoreError as error:
            log.warning("states are not published: %s; trying again", error)
            return False
        return True

    def _op(self, name: str, value: bytes | None) -> Op:
        return DeleteOp(self._prefix + name) if value is None else PutOp(self._prefix + name, value)
