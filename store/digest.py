"""What keys amount to: their number and a hash, the same for every store that has the same keys, whatever their
revisions, which a migration does not keep. Pure."""

import hashlib
from collections.abc import Iterable

from .kv import KeyValue


class Digest:
    """Over keys added in ascending order: each key, its value, and whether a lease holds it."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def extend(self, entries: Iterable[KeyValue[bytes]]) -> None:
        """Add the next keys."""
        for entry in entries:
            held = b"\1" if entry.lease else b"\0"
            sizes = len(entry.key).to_bytes(8, "big") + len(entry.value).to_bytes(8, "big")
            self._hash.update(b"".join((sizes, entry.key, entry.value, held)))
            self.count += 1

    @property
    def sha256(self) -> str:
        """The hash in hex."""
        return self._hash.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and (self.count, self.sha256) == (other.count, other.sha256)

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"{self.count} keys, sha256 {self.sha256}"
