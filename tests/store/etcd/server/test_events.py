"""Encoded responses of a watch: protobuf's own decoder reads them."""

from types import SimpleNamespace
from typing import Any

import pytest

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.server.events import Encoder, varint
from hawser.store.kv import Event, EventKind, KeyValue, WatchBatch

HEADER = pb.ResponseHeader(cluster_id=1 << 63, member_id=5, revision=9, raft_term=2)


def entry(revision: int, value: bytes = b"v") -> KeyValue[bytes]:
    return KeyValue(key=b"k", value=value, create_revision=2, mod_revision=revision, version=revision - 1, lease=7)


def put(revision: int, value: bytes = b"v") -> Event[bytes]:
    return Event(kind=EventKind.PUT, kv=entry(revision, value), prev=entry(revision - 1))


def batch(*events: Event[bytes]) -> WatchBatch[bytes]:
    return WatchBatch(revision=events[0].kv.mod_revision, events=events)


@pytest.fixture
def engine() -> Any:
    return SimpleNamespace(compacted=0)


@pytest.mark.parametrize("watch_id", [0, 1, 300, -7])
def test_a_response_is_a_watch_response(engine: Any, watch_id: int) -> None:
    (data,) = Encoder(engine).responses(HEADER, watch_id, [batch(put(3)), batch(put(4))], True, False)
    response = pb.WatchResponse.FromString(data)
    assert (response.header, response.watch_id, response.fragment) == (HEADER, watch_id, False)
    assert [(event.kv.mod_revision, event.prev_kv.mod_revision) for event in response.events] == [(3, 2), (4, 3)]
    assert (response.events[0].kv.lease, response.events[0].kv.version) == (7, 2)


def test_what_was_there_before_is_unknown_where_it_is_compacted(engine: Any) -> None:
    engine.compacted = 3
    (data,) = Encoder(engine).responses(HEADER, 0, [batch(put(3)), batch(put(4))], True, False)
    assert [event.HasField("prev_kv") for event in pb.WatchResponse.FromString(data).events] == [False, True]


def test_fragments_are_whole_events_and_all_but_the_last_say_so(engine: Any) -> None:
    whole = batch(*(put(3, bytes(900_000)) for _ in range(5)))
    parts = [pb.WatchResponse.FromString(data) for data in Encoder(engine).responses(HEADER, 1, [whole], False, True)]
    assert [(len(part.events), part.fragment) for part in parts] == [(2, True), (2, True), (1, False)]
    assert all(part.header == HEADER and part.watch_id == 1 for part in parts)
    assert len(list(Encoder(engine).responses(HEADER, 1, [whole], False, False))) == 1


def test_an_event_is_encoded_once_while_it_is_remembered(engine: Any) -> None:
    encoder, event = Encoder(engine), put(3)
    assert encoder._event(event, False) is encoder._event(event, False)
    assert encoder._event(event, True) != encoder._event(event, False)
    for number in range(20):
        encoder._event(put(3, bytes(1 << 20)), False)
        assert encoder._bytes < 10 << 20, number


@pytest.mark.parametrize(
    ("number", "data"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (-1, b"\xff" * 9 + b"\1")]
)
def test_numbers(number: int, data: bytes) -> None:
    assert varint(number) == data
