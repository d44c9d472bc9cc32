"""DNS messages as bytes (RFC 1035, EDNS of RFC 6891): queries taken apart, resource records put together.

A query is read with everything that is needed to answer it, even when it is wrong: `fault` is then the code to answer
with. Nothing raises on any bytes. Answers copy the question's bytes as they came, so letter case survives (0x20), and
names are compressed only against the question, which makes every record a piece of its own that can be moved about.
Pure.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = 12
NAME_MAX = 255
UDP_PLAIN, UDP_MAX, TCP_MAX = 512, 1232, 65535
IN, ANY_CLASS = 1, 255
QR, AA, TC, RD, RA, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
DO = 0x8000

Name = tuple[bytes, ...]


class Type(IntEnum):
    """Types of records and questions that mean something here (IANA, DNS parameters)."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    HINFO = 13
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    """Response codes (RFC 1035 §4.1.1; BADVERS: RFC 6891)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True)
class Edns:
    """What the client said in its OPT record; `size` is the UDP payload it takes, in bytes."""

    size: int
    version: int
    dnssec: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """`question` is the question's bytes as they came, empty when there is none to be echoed; `name` is lower case."""

    id: int
    flags: int
    question: bytes = b""
    name: Name = ()
    type: int = 0
    klass: int = 0
    edns: Edns | None = None
    fault: Rcode = Rcode.NOERROR

    @property
    def opcode(self) -> int:
        """0 is a standard query."""
        return self.flags >> 11 & 15

    @property
    def recursion(self) -> bool:
        """Whether the client wants others to be asked."""
        return bool(self.flags & RD)


def parse(data: bytes) -> Query | None:
    """The query in a message; None when no answer must be given (not a header, or itself an answer)."""
    if len(data) < HEADER:
        return None
    id, flags, questions, answers, authority, additional = struct.unpack_from("!6H", data)
    if flags & QR:
        return None
    if flags >> 11 & 15:
        return Query(id=id, flags=flags, fault=Rcode.NOTIMP)
    found = read_name(data, HEADER) if questions == 1 else None
    if found is None or found[1] + 4 > len(data):
        return Query(id=id, flags=flags, fault=Rcode.FORMERR)
    name, end = found
    type, klass = struct.unpack_from("!2H", data, end)
    edns, fault = _edns(data, end + 4, answers + authority, additional)
    return Query(
        id=id, flags=flags, question=data[HEADER : end + 4], name=name, type=type, klass=klass, edns=edns, fault=fault
    )


def read_name(data: bytes, at: int) -> tuple[Name, int] | None:
    """A name without compression, in lower case, and where it ends; None when it is none."""
    labels, start = list[bytes](), at
    while at < len(data):
        length = data[at]
        at += 1
        if length == 0:
            return (tuple(labels), at) if at - start <= NAME_MAX else None
        if length > 63 or at + length > len(data):
            return None
        labels.append(data[at : at + length].lower())
        at += length
    return None


def _edns(data: bytes, at: int, before: int, additional: int) -> tuple[Edns | None, Rcode]:
    """The OPT record among the records after the question."""
    edns: Edns | None = None
    for index in range(before + additional):
        start = at
        passed = _skip_name(data, at)
        if passed is None or passed + 10 > len(data):
            return edns, Rcode.FORMERR
        type, klass, ttl, length = struct.unpack_from("!HHIH", data, passed)
        at = passed + 10 + length
        if at > len(data):
            return edns, Rcode.FORMERR
        if type == Type.OPT:
            if edns is not None or index < before or data[start] != 0:
                return edns, Rcode.FORMERR
            edns = Edns(klass, ttl >> 16 & 255, bool(ttl & DO))
    if at != len(data):
        return edns, Rcode.FORMERR
    if edns is not None and edns.version != 0:
        return edns, Rcode.BADVERS
    return edns, Rcode.NOERROR


def _skip_name(data: bytes, at: int) -> int | None:
    while at < len(data):
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            return None
        at += 1 + length
    return None


def write_name(name: Sequence[bytes]) -> bytes:
    """A name without compression."""
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def write_owner(name: Name, question: Name) -> bytes:
    """A name whose longest ending that the question has too is a pointer to there (RFC 1035 §4.1.4)."""
    for index in range(len(name)):
        rest = name[index:]
        if question[len(question) - len(rest) :] == rest:
            offset = HEADER + sum(len(label) + 1 for label in question[: len(question) - len(rest)])
            return write_name(name[:index])[:-1] + struct.pack("!H", 0xC000 | offset)
    return write_name(name)


def write_record(owner: bytes, type: int, ttl: int, rdata: bytes, klass: int = IN) -> bytes:
    """One resource record; `ttl` in seconds."""
    return owner + struct.pack("!HHIH", type, klass, ttl, len(rdata)) + rdata


def write_message(
    query: Query,
    flags: int,
    rcode: Rcode,
    answers: Sequence[bytes] = (),
    authority: Sequence[bytes] = (),
    additional: Sequence[bytes] = (),
) -> bytes:
    """An answer to a query; with an OPT record when the query had one (RFC 6891 §6.1.1)."""
    extra = list(additional)
    if query.edns is not None:
        ttl = (rcode >> 4) << 24 | (DO if query.edns.dnssec else 0)
        extra.append(write_record(b"\0", Type.OPT, ttl, b"", UDP_MAX))
    head = QR | flags | query.flags & (0x7800 | RD | CD) | rcode & 15
    counts = (1 if query.question else 0, len(answers), len(authority), len(extra))
    return b"".join((struct.pack("!6H", query.id, head, *counts), query.question, *answers, *authority, *extra))
