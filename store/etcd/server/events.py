"""Events as they are on the wire, each encoded once however many watch it.

A response is put together from encoded parts: in protobuf a message is the parts of its fields in any order. Recent
events are remembered by identity, the store's own objects being the same for every watcher.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import chain

from ...embedded.engine import Engine
from ...kv import Event, WatchBatch
from .. import etcd_pb2 as pb
from .codec import event_message

REMEMBERED = 1 << 23
"""Bytes of encoded events."""
LARGEST = 2 << 20
"""A response with fragments is cut before it has so many bytes: etcd's largest request and what goes around it."""
_HEADER, _WATCH_ID, _FRAGMENT, _EVENT = b"\x0a", b"\x10", b"\x38\x01", b"\x5a"
_ALIKE = 512
"""What an event of no bytes takes in memory, about."""


class Encoder:
    """Remembers what it encoded last, for all streams of a server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: OrderedDict[tuple[int, bool], tuple[Event[bytes], bytes]] = OrderedDict()
        self._bytes = 0
        self._header: tuple[pb.ResponseHeader | None, bytes] = (None, b"")

    def size(self, batch: WatchBatch[bytes], prev_kv: bool) -> int:
        """In bytes, of a batch's events."""
        return sum(len(self._event(event, prev_kv)) for event in batch.events)

    def responses(
        self,
        header: pb.ResponseHeader,
        watch_id: int,
        batches: Sequence[WatchBatch[bytes]],
        prev_kv: bool,
        fragment: bool,
    ) -> Iterator[bytes]:
        """Encoded `WatchResponse`s: one, or where it would be too large and `fragment` allows it, several that belong
        together."""
        head = self._encoded(header) + (_WATCH_ID + varint(watch_id) if watch_id else b"")
        events = [self._event(event, prev_kv) for event in chain.from_iterable(batch.events for batch in batches)]
        if not fragment or len(head) + sum(map(len, events)) < LARGEST:
            yield head + b"".join(events)
            return
        begin = 0
        while begin < len(events):
            end, size = begin + 1, len(head) + len(events[begin])
            while end < len(events) and size + len(events[end]) < LARGEST:
                size += len(events[end])
                end += 1
            yield b"".join((head, _FRAGMENT if end < len(events) else b"", *events[begin:end]))
            begin = end

    def _encoded(self, header: pb.ResponseHeader) -> bytes:
        if self._header[0] is not header:
            data = header.SerializeToString()
            self._header = (header, _HEADER + varint(len(data)) + data)
        return self._header[1]

    def _event(self, event: Event[bytes], prev_kv: bool) -> bytes:
        # etcd looks up what was there before, and finds nothing where that is compacted
        prev_kv = prev_kv and event.kv.mod_revision > self._engine.compacted
        known = self._known.get((id(event), prev_kv))
        if known is not None:
            return known[1]
        data = event_message(event, prev_kv=prev_kv).SerializeToString()
        data = _EVENT + varint(len(data)) + data
        self._known[id(event), prev_kv] = (event, data)  # the event itself, so that its id stays its own
        self._bytes += len(data) + _ALIKE
        while self._bytes > REMEMBERED and len(self._known) > 1:
            self._bytes -= len(self._known.popitem(last=False)[1][1]) + _ALIKE
        return data


def varint(number: int) -> bytes:
    """A number of 64 bits as protobuf writes it."""
    number &= (1 << 64) - 1
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
