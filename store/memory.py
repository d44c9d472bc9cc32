"""The reference engine: the contract with nothing behind it; tests and tools use it."""

from .engine import Engine
from .keyspace import Keyspace


class MemoryStore(Engine):
    """A store that ends with the process. Make it inside a running event loop."""

    def __init__(self) -> None:
        super().__init__(Keyspace(), {})
