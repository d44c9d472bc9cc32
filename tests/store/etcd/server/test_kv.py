"""The KV service through gRPC: what etcd answers, we answer."""

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services

from .servers import Client, refused


async def put(client: Client, key: bytes, value: bytes = b"", **more: object) -> pb.PutResponse:
    return await client(services.PUT, pb.PutRequest(key=key, value=value, **more))  # type: ignore[arg-type]


async def test_a_put_is_answered_with_its_revision_and_who_answers(client: Client) -> None:
    first, second = await put(client, b"a", b"1"), await put(client, b"a", b"2", prev_kv=True)
    assert (first.header.revision, second.header.revision, second.prev_kv.value) == (2, 3, b"1")
    assert first.header.cluster_id == second.header.cluster_id != 0
    assert first.header.member_id == second.header.member_id != 0
    assert first.header.raft_term == 2


async def test_a_range_has_what_was_put_and_how_much_there_is(client: Client) -> None:
    for key in (b"a", b"b", b"c"):
        await put(client, key, key)
    found = await client(services.RANGE, pb.RangeRequest(key=b"a", range_end=b"\0", limit=2))
    assert [(each.key, each.value, each.version) for each in found.kvs] == [(b"a", b"a", 1), (b"b", b"b", 1)]
    assert (found.more, found.count, found.header.revision) == (True, 3, 4)


async def test_every_order_and_bound_and_form(client: Client) -> None:
    for key, value in ((b"a", b"3"), (b"b", b"2"), (b"c", b"1"), (b"b", b"2")):
        await put(client, key, value)

    async def keys(**asked: object) -> list[bytes]:
        request = pb.RangeRequest(key=b"a", range_end=b"z", **asked)  # type: ignore[arg-type]
        return [each.key for each in (await client(services.RANGE, request)).kvs]

    assert await keys(sort_target=pb.RangeRequest.VALUE) == [b"c", b"b", b"a"]
    assert await keys(sort_target=pb.RangeRequest.MOD, sort_order=pb.RangeRequest.DESCEND) == [b"b", b"c", b"a"]
    assert await keys(sort_target=pb.RangeRequest.VERSION, sort_order=pb.RangeRequest.ASCEND) == [b"a", b"c", b"b"]
    assert await keys(sort_order=pb.RangeRequest.DESCEND) == [b"c", b"b", b"a"]
    assert await keys(min_mod_revision=4) == [b"b", b"c"]
    assert await keys(max_create_revision=2) == [b"a"]
    assert await keys(revision=3) == [b"a", b"b"]
    assert await keys(count_only=True) == []
    assert await keys(serializable=True, keys_only=True) == [b"a", b"b", b"c"]


async def test_negative_numbers_are_no_limits_and_bounds_below_all_leave_nothing(client: Client) -> None:
    await put(client, b"a")
    found = await client(services.RANGE, pb.RangeRequest(key=b"a", limit=-1, revision=-5, min_mod_revision=-1))
    assert len(found.kvs) == 1
    found = await client(services.RANGE, pb.RangeRequest(key=b"a", range_end=b"b", max_mod_revision=-1))
    assert (len(found.kvs), found.count) == (0, 1)


async def test_a_delete_says_how_many_and_which(client: Client) -> None:
    for key in (b"a", b"b"):
        await put(client, key, b"v")
    request = pb.DeleteRangeRequest(key=b"a", range_end=b"c", prev_kv=True)
    gone = await client(services.DELETE_RANGE, request)
    assert (gone.deleted, [each.key for each in gone.prev_kvs], gone.header.revision) == (2, [b"a", b"b"], 4)
    again = await client(services.DELETE_RANGE, request)
    assert (again.deleted, again.header.revision) == (0, 4)


async def test_a_transaction_answers_each_operation_and_headers_within_have_revisions_only(client: Client) -> None:
    await put(client, b"a", b"1")
    inner = pb.TxnRequest(success=[pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a"))])
    request = pb.TxnRequest(
        compare=[pb.Compare(key=b"a", target=pb.Compare.VALUE, value=b"1")],
        success=[
            pb.RequestOp(request_range=pb.RangeRequest(key=b"a")),
            pb.RequestOp(request_put=pb.PutRequest(key=b"b", prev_kv=True)),
            pb.RequestOp(request_txn=inner),
        ],
    )
    done = await client(services.TXN, request)
    read, wrote, nested = done.responses
    assert done.succeeded
    assert done.header.revision == 3
    assert read.response_range.header == pb.ResponseHeader(revision=2)
    assert wrote.response_put == pb.PutResponse(header=pb.ResponseHeader(revision=3))
    assert nested.response_txn.header == pb.ResponseHeader()
    assert nested.response_txn.responses[0].response_delete_range.deleted == 1


async def test_comparisons_that_nobody_knows(client: Client) -> None:
    await put(client, b"a", b"1")

    async def holds(**compare: object) -> bool:
        request = pb.TxnRequest(compare=[pb.Compare(key=b"a", **compare)])  # type: ignore[arg-type]
        return (await client(services.TXN, request)).succeeded

    assert await holds(result=9)
    assert await holds(target=9)
    assert not await holds(target=9, result=pb.Compare.GREATER)
    assert not await holds(target=9, result=pb.Compare.NOT_EQUAL)
    assert not await holds(target=pb.Compare.VALUE)
    assert await holds(target=pb.Compare.VALUE, result=pb.Compare.GREATER)


async def test_compaction_and_what_is_gone_with_it(client: Client) -> None:
    for _ in range(3):
        await put(client, b"a")
    assert (await client(services.COMPACT, pb.CompactionRequest())).header.revision == 4
    await client(services.COMPACT, pb.CompactionRequest(revision=3, physical=True))
    compacted = (11, "etcdserver: mvcc: required revision has been compacted")
    assert await refused(client(services.RANGE, pb.RangeRequest(key=b"a", revision=2))) == compacted
    assert await refused(client(services.COMPACT, pb.CompactionRequest(revision=3))) == compacted
    future = (11, "etcdserver: mvcc: required revision is a future revision")
    assert await refused(client(services.RANGE, pb.RangeRequest(key=b"a", revision=9))) == future
