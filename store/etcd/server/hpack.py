"""HTTP/2's compressed headers (HPACK, RFC 7541), as much as a gRPC server needs. Pure.

Clients say the same headers with each call, as references into a table that both sides keep. So a block that was seen
before means what it meant then, until the table changes: the decoder remembers short blocks by their bytes. A byte may
refer to a field of thousands, so what is decoded is limited too.
"""

from collections import deque
from collections.abc import Iterable

from ...errors import Invalid

Field = tuple[str, str]
LIMIT = 4096
"""Bytes of the table: HTTP/2's usual SETTINGS_HEADER_TABLE_SIZE."""
ENTRY = 32
"""What an entry of the table, or a field, counts beside its letters."""
_REMEMBERED, _SHORT = 64, 512
_NAMES = (
    ":authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 :status=204 "
    ":status=206 :status=304 :status=400 :status=404 :status=500 accept-charset accept-encoding=gzip,~deflate "
    "accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
    "content-disposition content-encoding content-language content-length content-location content-range content-type "
    "cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since "
    "last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after "
    "server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate"
)


def _static() -> list[Field]:
    pairs = (each.partition("=") for each in _NAMES.split())
    return [(name, value.replace("~", " ")) for name, _, value in pairs]


STATIC = _static()
"""RFC 7541 appendix A."""
# the lengths of the codes of bytes 0 to 255 and of the end; the codes follow from them, being canonical (appendix B)
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)


class HpackError(Invalid):
    """The headers make no sense: the connection is of no use any more (RFC 7541, section 2.3.3)."""


class HeadersTooLarge(HpackError):
    """They are more than a client was told to send."""


Tree = list["Tree | int"]


def _tree() -> Tree:
    """Of the codes: at each bit the next tree, or a symbol."""
    root: Tree = [-1, -1]
    code = last = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - last
        last = length
        at = root
        for bit in range(length - 1, 0, -1):
            below = at[code >> bit & 1]
            if isinstance(below, int):
                below = at[code >> bit & 1] = [-1, -1]
            at = below
        at[code & 1] = symbol
        code += 1
    return root


_ROOT = _tree()
_END = 256


def unhuffed(data: bytes) -> bytes:
    """Decode a string in Huffman's code. HpackError."""
    out, at, ones = bytearray(), _ROOT, 0
    for byte in data:
        for shift in range(7, -1, -1):
            bit = byte >> shift & 1
            below = at[bit]
            if isinstance(below, list):
                at, ones = below, ones + 1 if bit else -8
            elif below in (-1, _END):
                raise HpackError("a header is not in Huffman's code")
            else:
                out.append(below)
                at, ones = _ROOT, 0
    if not 0 <= ones < 8:
        raise HpackError("a header ends within a code")
    return bytes(out)


class Decoder:
    """One direction of one connection; `most`: bytes of a block's fields, decoded, with 32 for each."""

    def __init__(self, most: int = 1 << 16) -> None:
        self._most = most
        self._table: deque[Field] = deque()
        self._size, self._limit = 0, LIMIT
        self._known: dict[bytes, tuple[Field, ...]] = {}

    def decode(self, block: bytes) -> tuple[Field, ...]:
        """The fields of a whole header block, in order. HpackError."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            at = self._sizes(block)
            changed, fields, size = at > 0, list[Field](), 0
            while at < len(block):
                field, at, kept = self._next(block, at)
                changed = changed or kept
                size += len(field[0]) + len(field[1]) + ENTRY
                if size > self._most:
                    raise HeadersTooLarge(f"headers of more than {self._most} bytes")
                fields.append(field)
        except IndexError:
            raise HpackError("a header block ends too early") from None
        found = tuple(fields)
        if changed:
            self._known.clear()
        elif len(block) <= _SHORT:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[block] = found
        return found

    def _sizes(self, block: bytes) -> int:
        """Changes of the table's size, which stand at a block's beginning; returns where they end."""
        at = 0
        while at < len(block) and block[at] & 0xE0 == 0x20:
            limit, at = _number(block, at, 5)
            if limit > LIMIT:
                raise HpackError(f"a header table of {limit} bytes is more than {LIMIT}")
            self._limit = limit
            self._evict()
        return at

    def _next(self, block: bytes, at: int) -> tuple[Field, int, bool]:
        """One field, where it ends, and whether the table has it from now on."""
        first = block[at]
        if first & 0x80:
            index, at = _number(block, at, 7)
            return self._field(index), at, False
        if first & 0xE0 == 0x20:
            raise HpackError("the header table changes its size within a block")
        keeps = bool(first & 0x40)
        index, at = _number(block, at, 6 if keeps else 4)
        name, at = (self._field(index)[0], at) if index else _string(block, at)
        value, at = _string(block, at)
        if keeps:
            self._add(name, value)
        return (name, value), at, keeps

    def _field(self, index: int) -> Field:
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        if not 0 < index - len(STATIC) <= len(self._table):
            raise HpackError(f"a header refers to entry {index}, which is not there")
        return self._table[index - len(STATIC) - 1]

    def _add(self, name: str, value: str) -> None:
        self._table.appendleft((name, value))
        self._size += len(name) + len(value) + ENTRY
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + ENTRY


def encode(fields: Iterable[Field]) -> bytes:
    """As literals that nobody keeps: any decoder understands it, and it means the same anywhere."""
    out = bytearray()
    for name, value in fields:
        if (name, value) in STATIC:
            out.append(0x80 | STATIC.index((name, value)) + 1)
            continue
        out.append(0)
        for text in (name.encode("latin-1"), value.encode("latin-1")):
            out += _length(len(text)) + text
    return bytes(out)


def _length(number: int) -> bytes:
    if number < 0x7F:
        return bytes((number,))
    out, number = bytearray((0x7F,)), number - 0x7F
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number in the low bits and what follows, and where it ends."""
    most = (1 << bits) - 1
    number, at = data[at] & most, at + 1
    if number < most:
        return number, at
    for shift in range(0, 35, 7):
        byte, at = data[at], at + 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise HpackError("a number in a header is too large")


def _string(data: bytes, at: int) -> tuple[str, int]:
    coded = data[at] & 0x80
    length, at = _number(data, at, 7)
    end = at + length
    if end > len(data):
        raise HpackError("a header block ends too early")
    text = data[at:end]
    return (unhuffed(text) if coded else text).decode("latin-1"), end
