"""What a history hashes to, as etcd's HashKV counts it: CRC-32C over the rows of its backend.

A row is 8 bytes of revision, `_`, 8 bytes of sub-revision, a `t` when it is a deletion, and then the key as a protobuf
message (mvccpb.KeyValue; of a deletion the key only). Rows go in order of revision, and within one in the order of its
changes. Of those up to the compacted revision only each key's last counts, when nothing up to the revision asked for
supersedes it. Pure.
"""

import sys
from array import array
from struct import Struct

from ..kv import KeyValue

POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected (RFC 3720 appendix B.4)
BUCKET = b"key"
REVISION = Struct(">QcQ")
CHUNK = 1 << 20


def _table() -> list[int]:
    """Of 16 bits each, so that a step takes two bytes."""
    table = list(range(1 << 16))
    for _ in range(16):
        table = [value >> 1 ^ POLYNOMIAL if value & 1 else value >> 1 for value in table]
    return table


TABLE = list[int]()


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C of `data` after what `crc` is of; some 20 MB a second."""
    if not TABLE:
        TABLE.extend(_table())
    table, crc = TABLE, crc ^ 0xFFFFFFFF
    pairs = array("H", data[: len(data) & ~1])
    if sys.byteorder == "big":
        pairs.byteswap()
    for pair in pairs:
        crc = table[(crc ^ pair) & 0xFFFF] ^ crc >> 16
    if len(data) & 1:
        crc = table[((crc ^ data[-1]) & 0xFF) << 8] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(number: int) -> bytes:
    """A number of 64 bits as protobuf writes it."""
    out, number = bytearray(), number & (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(entry: KeyValue[bytes]) -> bytes:
    """A key as etcd stores it: mvccpb.KeyValue, what is zero left out; of a deletion the key only."""
    parts = [b"\x0a", varint(len(entry.key)), entry.key]
    if entry.version:
        parts += [b"\x10", varint(entry.create_revision), b"\x18", varint(entry.mod_revision)]
        parts += [b"\x20", varint(entry.version)]
    if entry.value:
        parts += [b"\x2a", varint(len(entry.value)), entry.value]
    if entry.lease:
        parts += [b"\x30", varint(entry.lease)]
    return b"".join(parts)


class Records:
    """Rows, added in order, and their hash."""

    def __init__(self) -> None:
        self._crc = 0
        self._rows, self._size = [BUCKET], len(BUCKET)

    def add(self, entry: KeyValue[bytes], sub: int) -> None:
        """The next change; `sub` is its place in its revision."""
        row = REVISION.pack(entry.mod_revision, b"_", sub) + (b"" if entry.version else b"t") + message(entry)
        self._rows.append(row)
        self._size += len(row)
        if self._size > CHUNK:
            data = b"".join(self._rows)
            even = len(data) & ~1  # a table of byte pairs: an odd byte waits for the next
            self._crc = crc32c(data[:even], self._crc)
            self._rows, self._size = [data[even:]], len(data) - even

    def crc(self) -> int:
        """The hash of all rows so far."""
        return crc32c(b"".join(self._rows), self._crc)
