"""A DNS server without sockets: a query's bytes in, an answer's bytes (or what else to do) out.

Answers to UDP are kept packed, by everything of the query but its id, until the tenant's instances change:
the hot path is one look-up and a new id in front. Each kept answer has several rotations of its records, and the caller
says whose turn it is. RFC 1034/1035, 2308 (negative answers), 6891 (EDNS), 7766 (TCP), 8482 (ANY), 9715 (UDP at most
1232 bytes). Pure.
"""

from collections.abc import Callable, Sequence
from enum import Enum

from . import wire
from .model import Instance
from .wire import Query, Rcode, Type
from .zone import Answer, Listener, Record, View

Lookup = Callable[[str], Sequence[Instance]]
KEPT = 1024
ROTATIONS = 8


class Verdict(Enum):
    """No answer of our own: ask the machine's resolvers, or stay silent."""

    FORWARD = "forward"
    DROP = "drop"


class Responder:
    """Answers for one listener. `lookup(tenant)` gives the tenant's instances; the same object means no change."""

    def __init__(self, listener: Listener, lookup: Lookup) -> None:
        self.listener = listener
        self._lookup = lookup
        self._instances: Sequence[Instance] | None = None
        self._view = View(listener)
        self._kept: dict[bytes, tuple[bytes, ...]] = {}

    def respond(self, data: bytes, *, tcp: bool = False, turn: int = 0) -> bytes | Verdict:
        """The answer to one message; never raises, whatever the bytes."""
        instances = self._lookup(self.listener.tenant)
        if instances is not self._instances:
            self._renew(instances)
        packed = None if tcp else self._kept.get(data[2:])
        if packed is None:
            query = wire.parse(data)
            if query is None:
                return Verdict.DROP
            found = self._answer(query, turn if tcp else None)
            if isinstance(found, Verdict):
                return found
            packed = found
            if not tcp and len(data) <= wire.UDP_PLAIN:
                self._keep(data[2:], packed)
        return data[:2] + packed[turn % len(packed)]

    def failure(self, data: bytes) -> bytes | None:
        """SERVFAIL to a message that should have been forwarded and could not."""
        query = wire.parse(data)
        return None if query is None else self._short(query, Rcode.SERVFAIL)

    def _keep(self, key: bytes, packed: tuple[bytes, ...]) -> None:
        if len(self._kept) >= KEPT:
            self._kept = {}
        self._kept[key] = packed

    def _renew(self, instances: Sequence[Instance]) -> None:
        self._view = View.of(self.listener, instances, self._view.serial + 1)
        self._instances = instances
        self._kept = {}

    def _short(self, query: Query, rcode: Rcode) -> bytes:
        return wire.write_message(query, wire.RA if self.listener.forward else 0, rcode)

    def _answer(self, query: Query, turn: int | None) -> tuple[bytes, ...] | Verdict:
        refusal = query.fault or self._refusal(query)
        if refusal:
            return (self._short(query, refusal)[2:],)
        if self._view.owns(query.name):
            return self._pack(query, self._view.find(query.name, query.type), turn)
        if not self.listener.forward or not query.recursion:
            return (self._short(query, Rcode.REFUSED)[2:],)
        if len(query.name) == 1 and query.type in (Type.A, Type.AAAA):
            # a bare name is somebody's search list at work; nobody outside should learn it
            return (self._short(query, Rcode.NXDOMAIN)[2:],)
        return Verdict.FORWARD

    def _refusal(self, query: Query) -> Rcode | None:
        if query.klass not in (wire.IN, wire.ANY_CLASS) or query.type in (Type.AXFR, Type.IXFR):
            return Rcode.REFUSED
        return Rcode.FORMERR if query.type == Type.OPT else None

    def _pack(self, query: Query, answer: Answer, turn: int | None) -> tuple[bytes, ...]:
        """Rotations of an answer, without the id: for UDP a few that are kept, for TCP the one whose `turn` it is."""
        count = len(answer.answers)
        if turn is not None:
            return (self._fit(query, answer, turn % max(count, 1), tcp=True)[2:],)
        steps = range(0, count, -(-count // ROTATIONS)) if count else range(1)
        return tuple(self._fit(query, answer, step, tcp=False)[2:] for step in steps)

    def _fit(self, query: Query, answer: Answer, first: int, *, tcp: bool) -> bytes:
        """The whole answer; without additional records when it is too long; else truncated: over UDP nothing and TC,
        over TCP (which has no more to offer) as many records as fit."""
        flags = wire.AA | (wire.RA if self.listener.forward else 0)
        limit = wire.TCP_MAX if tcp else _udp_limit(query)
        answers = [_write(record, query) for record in answer.answers[first:] + answer.answers[:first]]
        authority = [] if answers or not answer.soa else [_write(self._view.soa(), query)]
        extra = [_write(record, query) for record in answer.additional]
        for additional in (extra, []):
            message = wire.write_message(query, flags, answer.rcode, answers, authority, additional)
            if len(message) <= limit:
                return message
        room = limit - len(wire.write_message(query, flags, answer.rcode))
        return wire.write_message(query, flags | wire.TC, answer.rcode, _first(answers, room) if tcp else ())


def _udp_limit(query: Query) -> int:
    if query.edns is None:
        return wire.UDP_PLAIN
    return min(max(query.edns.size, wire.UDP_PLAIN), wire.UDP_MAX)


def _write(record: Record, query: Query) -> bytes:
    owner = wire.write_owner(record.owner or query.name, query.name)
    return wire.write_record(owner, record.type, record.ttl, record.rdata)


def _first(records: Sequence[bytes], room: int) -> list[bytes]:
    kept = list[bytes]()
    for record in records:
        room -= len(record)
        if room < 0:
            break
        kept.append(record)
    return kept
