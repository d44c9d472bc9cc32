"""How far a watch has come: whole revisions, each once, whatever they were cut into."""

import random

import hypothesis.strategies as st
from hypothesis import given, settings

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.client.cursor import Cursor


def response(*revisions: int, fragment: bool = False) -> pb.WatchResponse:
    events = [pb.Event(kv=pb.KeyValue(key=b"k%d" % place, mod_revision=rev)) for place, rev in enumerate(revisions)]
    return pb.WatchResponse(events=events, fragment=fragment)


def revisions(cursor: Cursor, told: pb.WatchResponse) -> list[tuple[int, int]]:
    return [(batch.revision, len(batch.events)) for batch in cursor.take(told)]


def test_events_of_a_revision_are_one_batch() -> None:
    cursor = Cursor(3)
    assert revisions(cursor, response(3, 3, 5)) == [(3, 2), (5, 1)]
    assert cursor.next == 6


def test_a_fragment_holds_its_last_revision_back() -> None:
    cursor = Cursor(1)
    assert revisions(cursor, response(3, 4, 4, fragment=True)) == [(3, 1)]
    assert cursor.next == 4
    cursor.passed(9)
    assert cursor.next == 4, "what is held back was not handed on"
    assert revisions(cursor, response(4, 5, fragment=True)) == [(4, 3)]
    assert revisions(cursor, response(5, 6)) == [(5, 2), (6, 1)]


def test_what_came_before_is_dropped_and_what_was_not_whole_comes_again() -> None:
    cursor = Cursor(1)
    assert revisions(cursor, response(3, 4, fragment=True)) == [(3, 1)]
    assert cursor.again() == 3
    assert revisions(cursor, response(3, 4, 4)) == [(4, 2)]


def test_progress_moves_it_on_and_never_back() -> None:
    cursor = Cursor(5)
    cursor.passed(8)
    assert (cursor.next, cursor.again()) == (9, 8)
    cursor.passed(2)
    assert cursor.next == 9
    assert Cursor(1).again() == 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_cutting_and_any_number_of_beginnings_give_each_revision_whole_and_once(seed: int) -> None:
    chance = random.Random(seed)
    truth, revision = list[tuple[int, int]](), 1
    for _ in range(chance.randint(1, 12)):
        revision += chance.randint(1, 3)
        truth.append((revision, chance.randint(1, 4)))
    cursor, seen = Cursor(2), list[tuple[int, int]]()
    while cursor.next <= revision:
        start = cursor.again()
        flat = [each for each, events in truth if each >= start for _ in range(events)]
        while flat:
            size = chance.randint(1, len(flat))
            part, flat = flat[:size], flat[size:]
            # etcd cuts within a revision only where it says so
            seen += revisions(cursor, response(*part, fragment=bool(flat)))
            if chance.random() < 0.2:
                break
    assert seen == truth
