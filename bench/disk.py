"""Where figures about a disk are taken: on that of the current directory, never on tmpfs."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def directory(area: str) -> Iterator[Path]:
    """A directory for an area's files, removed afterwards."""
    cache = Path.cwd() / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"bench-{area}-", dir=cache) as name:
        yield Path(name)
