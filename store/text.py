"""Text keys over a store of byte keys: what hawser's own packages use.

Text is UTF-8, whose byte order is the order of its code points. Bytes that are no UTF-8, which other clients may have
put, are told as Python tells file names (PEP 383) and mean the same bytes when they come back.
"""

from collections.abc import Iterable

from .errors import Invalid
from .kv import KeyValue, Store
from .mapped import MappedStore

MAX_KEY = 4096


class _Text:
    """Keys as text."""

    def key(self, key: str, *, ranged: bool) -> bytes:
        return self.end(key)

    def end(self, end: str) -> bytes:
        """Invalid when it is no text, or too long."""
        try:
            raw = end.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raise Invalid(f"the key {end!r} is not valid Unicode; a key is UTF-8 text") from None
        if len(raw) > MAX_KEY:
            raise Invalid(f"a key of {len(raw)} bytes is longer than {MAX_KEY}; shorten it")
        return raw

    def entry(self, entry: KeyValue[bytes]) -> KeyValue:
        return KeyValue(
            key=entry.key.decode(errors="surrogateescape"),
            value=entry.value,
            create_revision=entry.create_revision,
            mod_revision=entry.mod_revision,
            version=entry.version,
            lease=entry.lease,
        )

    def keys(self, keys: Iterable[bytes]) -> tuple[str, ...]:
        return tuple(key.decode(errors="surrogateescape") for key in keys)


class TextStore(MappedStore[str, bytes]):
    """`Store` over `raw`, a `Store[bytes]`."""

    def __init__(self, raw: Store[bytes]) -> None:
        super().__init__(raw, _Text())
