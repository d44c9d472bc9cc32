"""What every engine does with the options of puts and deletes, and with transactions in transactions: etcd's rules."""

import pytest

from hawser.store import (
    Compare,
    DeleteOp,
    DeleteResult,
    DuplicateKey,
    EventKind,
    Invalid,
    KeyValue,
    NoKey,
    NotFound,
    Op,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Store,
    Target,
    TooManyOps,
    TxnOp,
    TxnResult,
    absent,
)

from ..watching import take, told


async def entry(store: Store, key: str) -> KeyValue:
    found = await store.get(key)
    assert found is not None
    return found


async def test_a_put_says_what_it_replaced(store: Store) -> None:
    assert await store.apply(PutOp("a", b"1", prev_kv=True)) == PutResult(revision=2, prev=None)
    before = await entry(store, "a")
    assert await store.apply(PutOp("a", b"2", prev_kv=True)) == PutResult(revision=3, prev=before)


async def test_a_delete_says_what_it_deleted(store: Store) -> None:
    for key in "abc":
        await store.put(key, key.encode())
    gone = (await store.range("a", end="c")).kvs
    assert await store.apply(DeleteOp("a", end="c", prev_kv=True)) == DeleteResult(count=2, prev=gone)
    assert await store.apply(DeleteOp("a", end="c", prev_kv=True)) == DeleteResult(count=0, prev=())


async def test_a_put_may_keep_the_value_or_the_lease(store: Store) -> None:
    lease = (await store.lease_grant(60)).id
    await store.put("a", b"1", lease=lease)
    await store.apply(PutOp("a", b"2", ignore_lease=True))
    kept = await entry(store, "a")
    assert (kept.value, kept.lease, kept.version) == (b"2", lease, 2)
    await store.apply(PutOp("a", b"", ignore_value=True))
    freed = await entry(store, "a")
    assert (freed.value, freed.lease, freed.version) == (b"2", 0, 3)


@pytest.mark.parametrize("op", [PutOp("none", b"", ignore_value=True), PutOp("none", b"", ignore_lease=True)])
async def test_what_is_not_there_cannot_be_kept(store: Store, op: PutOp) -> None:
    for call in (store.apply(op), store.txn([], [PutOp("other", b""), op])):
        with pytest.raises(NoKey, match="none does not exist"):
            await call
    assert (await store.range("", prefix=True)).revision == 1


@pytest.mark.parametrize("op", [PutOp("a", b"x", ignore_value=True), PutOp("a", b"", 7, ignore_lease=True)])
async def test_to_keep_and_to_give_is_refused(store: Store, op: PutOp) -> None:
    await store.put("a", b"")
    with pytest.raises(Invalid, match="give one of them"):
        await store.apply(op)


async def holds(store: Store, *compares: Compare) -> bool:
    return (await store.txn(compares, [])).succeeded


async def test_a_compare_of_a_range_holds_for_every_key(store: Store) -> None:
    await store.put("a/1", b"x")
    await store.put("a/2", b"x")
    await store.put("a/2", b"x")
    assert await holds(store, Compare("a/", Target.VALUE, "=", b"x", prefix=True))
    assert await holds(store, Compare("a/", Target.VERSION, ">", 0, end="a0"))
    assert not await holds(store, Compare("a/", Target.VERSION, "=", 1, prefix=True))
    assert await holds(store, Compare("a/", Target.VERSION, "=", 1, end="a/2"))
    assert not await holds(store, Compare("", Target.MOD, "<", 4, end="\0"))


async def test_an_empty_range_compares_as_a_missing_key(store: Store) -> None:
    assert await holds(store, Compare("a/", Target.VERSION, "=", 0, prefix=True))
    assert not await holds(store, Compare("a/", Target.VERSION, ">", 0, prefix=True))
    assert not await holds(store, Compare("a/", Target.VALUE, "!=", b"x", prefix=True))


async def test_transactions_in_transactions_are_one_revision(store: Store) -> None:
    inner = TxnOp([absent("none")], [PutOp("b", b"2"), TxnOp(then=[PutOp("c", b"3"), RangeOp("", prefix=True)])])
    async with store.watch("", prefix=True) as batches:
        result = await store.txn([], [PutOp("a", b"1"), inner, RangeOp("", prefix=True)])
        assert told(await take(batches, 1)) == ["+a=1 +b=2 +c=3"]
    _, nested, last = result.results
    assert isinstance(nested, TxnResult)
    assert (nested.succeeded, nested.results[0]) == (True, 2)
    assert isinstance(last, RangeResult)
    assert last.count == 3
    assert result.revision == 2


async def test_compares_within_see_what_was_before_the_whole(store: Store) -> None:
    result = await store.txn([], [PutOp("a", b""), TxnOp([absent("a")], [PutOp("b", b"")], [PutOp("c", b"")])])
    nested = result.results[1]
    assert isinstance(nested, TxnResult)
    assert nested.succeeded
    assert await store.get("c") is None


CLASHES: dict[str, list[Op]] = {
    "put and put within": [PutOp("k", b""), TxnOp(then=[PutOp("k", b"")])],
    "put and put in the other branch within": [PutOp("k", b""), TxnOp(otherwise=[PutOp("k", b"")])],
    "put in two within": [TxnOp(then=[PutOp("k", b"")]), TxnOp(otherwise=[PutOp("k", b"")])],
    "put and delete within": [PutOp("k", b""), TxnOp(then=[DeleteOp("", prefix=True)])],
    "delete and put within": [DeleteOp("", end="\0"), TxnOp(then=[TxnOp(otherwise=[PutOp("k", b"")])])],
    "delete within and put in another": [TxnOp(then=[DeleteOp("k")]), TxnOp(then=[PutOp("k", b"")])],
    "put within and delete in another": [TxnOp(then=[PutOp("k", b"")]), TxnOp(then=[DeleteOp("k")])],
}


@pytest.mark.parametrize("ops", CLASHES.values(), ids=CLASHES.keys())
async def test_a_key_changes_once_wherever_the_changes_are(store: Store, ops: list[Op]) -> None:
    for then, otherwise in ((ops, []), ([], ops)):
        with pytest.raises(DuplicateKey):
            await store.txn([], then, otherwise)


async def test_what_never_runs_together_may_name_the_same_key(store: Store) -> None:
    await store.txn([], [PutOp("k", b"1")], [PutOp("k", b"2")])
    await store.txn([], [TxnOp(then=[PutOp("k", b"3")], otherwise=[PutOp("k", b"4")])])
    await store.txn([], [TxnOp(then=[DeleteOp("k")], otherwise=[PutOp("k", b"4")])])
    result = await store.txn([], [DeleteOp("k"), TxnOp(then=[DeleteOp("", prefix=True)]), DeleteOp("k")])
    assert result.revision == 4
    assert await store.get("k") is None


async def test_the_limit_counts_compares_and_what_is_left_for_the_nested(store: Store) -> None:
    puts = [PutOp(f"k{number}", b"") for number in range(128)]
    assert (await store.txn([], puts)).revision == 2
    for wrong in (
        TxnOp(then=[RangeOp("a")] * 129),
        TxnOp([absent("a")] * 129),
        TxnOp(then=[*puts[:100], TxnOp(then=[RangeOp("a")] * 28)]),
    ):
        with pytest.raises(TooManyOps):
            await store.apply(wrong)
    fits = TxnOp(then=[*puts[:100], TxnOp(then=[RangeOp("a")] * 27)])
    assert isinstance(await store.apply(fits), TxnResult)


async def test_a_lease_that_is_not_there_within_undoes_the_whole(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.txn([], [PutOp("a", b""), TxnOp(then=[PutOp("b", b"", 99)])])
    assert (await store.range("", prefix=True)).revision == 1
    assert (await store.txn([], [], [PutOp("b", b"", 99)])).succeeded, "the branch that is not taken is not looked at"


async def test_later_operations_within_see_earlier_ones_and_events_have_what_was_before(store: Store) -> None:
    await store.put("a", b"1")
    async with store.watch("", prefix=True) as batches:
        result = await store.txn([], [TxnOp(then=[DeleteOp("a", prev_kv=True)]), RangeOp("a"), DeleteOp("a")])
        (batch,) = await take(batches, 1)
    (event,) = batch.events
    assert (event.kind, event.prev and event.prev.value) == (EventKind.DELETE, b"1")
    _, found, again = result.results
    assert (getattr(found, "kvs", None), again) == ((), 0)
