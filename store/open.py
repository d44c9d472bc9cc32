"""Where a store comes from: memory, a directory of this machine."""

from pathlib import Path

from .embedded.base import RING
from .embedded.drivers.schema import Connect, connect
from .embedded.drivers.sqlite import KEEP, SqliteEngine
from .embedded.memory import MemoryEngine
from .text import TextStore


class MemoryStore(TextStore):
    """A store that ends with the process, and keeps the last `ring` revisions for watches. Make it inside a running
    event loop."""

    raw: MemoryEngine

    def __init__(self, *, ring: int = RING, age: float | None = None) -> None:
        super().__init__(MemoryEngine(ring=ring, age=age))


class SqliteStore(TextStore):
    """A durable store in a directory; use `open`."""

    raw: SqliteEngine

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        keep: int | None = KEEP,
        age: float | None = None,
        ring: int = RING,
        quota: int | None = None,
        connect: Connect = connect,
    ) -> "SqliteStore":
        """Open or create it, as `SqliteEngine.open`."""
        return cls(await SqliteEngine.open(directory, keep=keep, age=age, ring=ring, quota=quota, connect=connect))
