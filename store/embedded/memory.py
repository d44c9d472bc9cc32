"""The reference engine: the contract with nothing behind it; tests and tools use it."""

from .engine import RING, Engine
from .keyspace import Keyspace


class MemoryEngine(Engine):
    """A store that ends with the process, and keeps the last `ring` revisions for watches. Make it inside a running
    event loop."""

    def __init__(self, *, ring: int = RING, age: float | None = None) -> None:
        super().__init__(Keyspace(), {}, ring=ring, age=age)
