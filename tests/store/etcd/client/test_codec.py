"""Operations as etcd's messages: what etcd writes differently."""

import pytest

from hawser.store import (
    Compare,
    DeleteOp,
    DeleteResult,
    DuplicateKey,
    EventKind,
    Invalid,
    KeyValue,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    SortBy,
    Target,
    TooLarge,
    TtlTooLarge,
    TxnOp,
    TxnResult,
)
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.client import codec


@pytest.mark.parametrize(
    ("key", "end", "prefix", "there"),
    [
        (b"a", None, False, (b"a", b"")),
        (b"a", b"c", False, (b"a", b"c")),
        (b"a", None, True, (b"a", b"b")),
        (b"a\xff", None, True, (b"a\xff", b"b")),
        (b"\xff", None, True, (b"\xff", b"\0")),
        (b"", None, True, (b"\0", b"\0")),
        (b"a", b"\0", False, (b"a", b"\0")),
        (b"", b"\0", False, (b"\0", b"\0")),
        (b"", b"c", False, (b"\0", b"c")),
    ],
)
def test_a_selection_is_a_key_and_a_range_end(key: bytes, end: bytes | None, prefix: bool, there: object) -> None:
    assert codec.interval(key, end, prefix) == there


@pytest.mark.parametrize(("key", "end"), [(b"", b""), (b"\0", b""), (b"a", b""), (b"b", b"a"), (b"a", b"a")])
def test_an_empty_selection_never_becomes_one_of_a_key_or_of_all(key: bytes, end: bytes) -> None:
    low, high = codec.interval(key, end, False)
    assert low >= high > b"\0"


def test_a_range_says_all_it_asks_for() -> None:
    op = RangeOp(
        b"k", b"l", limit=3, revision=4, keys_only=True, sort=SortBy.MOD, descending=True, min_mod=5, max_mod=6
    )
    assert codec.range_request(op) == pb.RangeRequest(
        key=b"k",
        range_end=b"l",
        limit=3,
        revision=4,
        keys_only=True,
        sort_order=pb.RangeRequest.SortOrder.DESCEND,
        sort_target=pb.RangeRequest.SortTarget.MOD,
        min_mod_revision=5,
        max_mod_revision=6,
    )
    assert codec.range_request(RangeOp(b"k", descending=True)).sort_order == pb.RangeRequest.SortOrder.DESCEND


@pytest.mark.parametrize(
    ("target", "value", "field"),
    [
        (Target.VERSION, 0, "version"),
        (Target.CREATE, 0, "create_revision"),
        (Target.MOD, 7, "mod_revision"),
        (Target.VALUE, b"", "value"),
        (Target.LEASE, 9, "lease"),
    ],
)
def test_a_compare_is_of_one_target(target: Target, value: int | bytes, field: str) -> None:
    (compare,) = codec.txn_request(TxnOp([Compare(b"k", target, "!=", value)])).compare
    assert compare.WhichOneof("target_union") == field
    assert getattr(compare, field) == value
    assert compare.result == pb.Compare.CompareResult.NOT_EQUAL


def test_mistakes_are_told_before_anything_is_sent() -> None:
    for request in (
        lambda: codec.range_request(RangeOp(b"")),
        lambda: codec.range_request(RangeOp(b"a", b"b", prefix=True)),
        lambda: codec.delete_request(DeleteOp(b"")),
        lambda: codec.put_request(PutOp(b"", b"")),
        lambda: codec.watch_request(b"", None, False, ()),
        lambda: codec.seconds(0),
    ):
        with pytest.raises(Invalid):
            request()
    with pytest.raises(TooLarge):
        codec.put_request(PutOp(b"a", bytes(2**21)))
    with pytest.raises(DuplicateKey):
        codec.txn_request(TxnOp(then=[PutOp(b"a", b""), PutOp(b"a", b"")]))
    with pytest.raises(TtlTooLarge):
        codec.seconds(9_000_000_001)


def test_a_lease_has_whole_seconds_and_never_less_than_asked() -> None:
    assert [codec.seconds(ttl) for ttl in (0.01, 1, 1.5, 9_000_000_000)] == [1, 1, 2, 9_000_000_000]


def test_a_watch_asks_for_what_was_before_and_for_progress() -> None:
    request = codec.watch_request(b"a", None, True, {EventKind.DELETE})
    assert (request.key, request.range_end) == (b"a", b"b")
    assert (request.prev_kv, request.progress_notify, request.fragment) == (True, True, True)
    assert list(request.filters) == [pb.WatchCreateRequest.FilterType.NODELETE]


def test_results_are_those_of_the_branch_that_ran() -> None:
    kv = pb.KeyValue(key=b"a", value=b"1", create_revision=2, mod_revision=3, version=2, lease=4)
    entry = KeyValue(key=b"a", value=b"1", create_revision=2, mod_revision=3, version=2, lease=4)
    op = TxnOp(
        then=[PutOp(b"a", b"")], otherwise=[PutOp(b"a", b"", prev_kv=True), DeleteOp(b"b"), TxnOp(then=[RangeOp(b"a")])]
    )
    response = pb.TxnResponse(
        header=pb.ResponseHeader(revision=9),
        responses=[
            pb.ResponseOp(response_put=pb.PutResponse(prev_kv=kv)),
            pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse(deleted=2)),
            pb.ResponseOp(
                response_txn=pb.TxnResponse(
                    succeeded=True,
                    responses=[pb.ResponseOp(response_range=pb.RangeResponse(kvs=[kv], count=1))],
                )
            ),
        ],
    )
    found = RangeResult(kvs=(entry,), revision=9, count=1)
    nested = TxnResult(succeeded=True, revision=9, results=(found,))
    assert codec.txn_result(op, response) == TxnResult(
        succeeded=False, revision=9, results=(PutResult(revision=9, prev=entry), 2, nested)
    )
    gone = pb.DeleteRangeResponse(deleted=1, prev_kvs=[kv])
    assert codec.delete_result(DeleteOp(b"a", prev_kv=True), gone) == DeleteResult(count=1, prev=(entry,))
