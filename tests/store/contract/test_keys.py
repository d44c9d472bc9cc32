"""What every engine must do with keys: range, put, delete, transactions. Revisions and rules are etcd's."""

import asyncio

import pytest

from hawser.store import (
    Compare,
    DeleteOp,
    Invalid,
    NotFound,
    PutOp,
    RangeOp,
    RangeResult,
    Store,
    Target,
    Unavailable,
    absent,
    unchanged,
)


async def keys(store: Store, key: str, end: str | None = None, prefix: bool = False, limit: int = 0) -> list[str]:
    return [entry.key for entry in (await store.range(key, end=end, prefix=prefix, limit=limit)).kvs]


async def fill(store: Store, *names: str) -> None:
    for name in names:
        await store.put(name, name.encode())


async def revision(store: Store) -> int:
    return (await store.range("", prefix=True, limit=1)).revision


async def test_an_empty_store_has_revision_1(store: Store) -> None:
    assert await store.range("", prefix=True) == RangeResult(kvs=(), revision=1)
    assert await store.get("a") is None


async def test_a_put_is_one_revision_and_its_key_remembers(store: Store) -> None:
    assert [await store.put("a", b"1"), await store.put("b", b"2"), await store.put("a", b"3")] == [2, 3, 4]
    entry = await store.get("a")
    assert entry is not None
    assert (entry.value, entry.create_revision, entry.mod_revision, entry.version, entry.lease) == (b"3", 2, 4, 2, 0)


async def test_a_key_deleted_and_put_again_begins_anew(store: Store) -> None:
    await store.put("a", b"1")
    assert await store.delete("a") == 1
    await store.put("a", b"2")
    entry = await store.get("a")
    assert entry is not None
    assert (entry.create_revision, entry.mod_revision, entry.version) == (4, 4, 1)


async def test_deleting_nothing_makes_no_revision(store: Store) -> None:
    await store.put("a", b"1")
    assert await store.delete("b") == 0
    assert await store.delete("x/", prefix=True) == 0
    assert await revision(store) == 2


async def test_a_range_is_one_key_an_interval_or_a_prefix(store: Store) -> None:
    await fill(store, "b", "a", "a/1", "a/2", "a0", "c")
    assert await keys(store, "a") == ["a"]
    assert await keys(store, "a/", prefix=True) == ["a/1", "a/2"]
    assert await keys(store, "a", end="b") == ["a", "a/1", "a/2", "a0"]
    assert await keys(store, "b", end="a") == []
    assert await keys(store, "", prefix=True) == ["a", "a/1", "a/2", "a0", "b", "c"]
    assert await keys(store, "", end="a0") == ["a", "a/1", "a/2"]


async def test_a_limit_says_that_there_is_more(store: Store) -> None:
    await fill(store, "a", "b", "c")
    found = await store.range("", prefix=True, limit=2)
    assert ([entry.key for entry in found.kvs], found.more) == (["a", "b"], True)
    assert not (await store.range("", prefix=True, limit=3)).more


async def test_deleting_a_prefix_or_an_interval_is_one_revision(store: Store) -> None:
    await fill(store, "a/1", "a/2", "b", "c", "d")
    before = await revision(store)
    assert await store.delete("a/", prefix=True) == 2
    assert await store.delete("b", end="d") == 2
    assert await revision(store) == before + 2
    assert await keys(store, "", prefix=True) == ["d"]


ODD = ["\0", "\x7f", "ä", "z\0", "z\0z", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "%", "_", "'", "a b"]


async def test_odd_keys_are_in_byte_order_and_found_by_prefix(store: Store) -> None:
    await fill(store, *reversed(ODD))
    assert await keys(store, "", prefix=True) == sorted(ODD, key=str.encode)
    for key in ODD:
        assert await keys(store, key, prefix=True) == sorted((k for k in ODD if k.startswith(key)), key=str.encode)
        found = await store.get(key)
        assert found is not None
        assert found.value == key.encode()


@pytest.mark.parametrize("key", ["", "x" * 4097, "ä" * 2049, "\ud800"])
async def test_a_key_that_cannot_be_is_refused_everywhere(store: Store, key: str) -> None:
    for call in (
        store.put(key, b""),
        store.get(key),
        store.range(key),
        store.delete(key),
        store.txn([absent(key)], []),
        store.txn([], [PutOp(key, b"")]),
    ):
        with pytest.raises(Invalid):
            await call
    with pytest.raises(Invalid):
        async with store.watch(key):
            pass
    assert await store.put("x" * 4096, b"fits") == 2


async def test_a_range_cannot_be_two_things(store: Store) -> None:
    with pytest.raises(Invalid, match="one of them"):
        await store.range("a", end="b", prefix=True)
    with pytest.raises(Invalid, match="limit"):
        await store.range("a", end="b", limit=-1)


async def test_a_value_is_bytes_of_any_kind(store: Store) -> None:
    big = bytes(range(256)) * 4096
    await store.put("big", big)
    await store.put("empty", b"")
    assert [entry.value for entry in (await store.range("", prefix=True)).kvs] == [big, b""]
    with pytest.raises(Invalid, match="bytes"):
        await store.put("a", "text")  # type: ignore[arg-type]
    assert await store.put("a", b"works still") == 4


async def test_the_values_of_a_request_are_bounded(store: Store) -> None:
    most = 1572864
    with pytest.raises(Invalid, match="the value of a: 1572865 bytes are more than 1572864"):
        await store.put("a", bytes(most + 1))
    with pytest.raises(Invalid, match="the 2 values of a transaction: 1572865 bytes"):
        await store.txn([], [PutOp("a", bytes(most)), PutOp("b", b"1")])
    assert await store.put("a", bytes(most)) == 2


async def holds(store: Store, *compares: Compare) -> bool:
    return (await store.txn(compares, [])).succeeded


async def test_compares_know_every_target_and_operator(store: Store) -> None:
    lease = (await store.lease_grant(60)).id
    await store.put("other", b"")
    await store.put("k", b"1")
    await store.put("k", b"m", lease=lease)
    values: dict[Target, tuple[int | bytes, ...]] = {
        Target.VERSION: (1, 2, 3),
        Target.CREATE: (2, 3, 4),
        Target.MOD: (3, 4, 5),
        Target.LEASE: (lease - 1, lease, lease + 1),
        Target.VALUE: (b"a", b"m", b"z"),
    }
    for target, (low, same, high) in values.items():
        truth = {
            op: [await holds(store, Compare("k", target, op, value)) for value in (low, same, high)]
            for op in ("=", "!=", "<", ">")
        }
        assert truth == {
            "=": [False, True, False],
            "!=": [True, False, True],
            "<": [False, False, True],
            ">": [True, False, False],
        }, target


async def test_a_missing_key_compares_as_zero_and_has_no_value(store: Store) -> None:
    for target in (Target.VERSION, Target.CREATE, Target.MOD, Target.LEASE):
        assert await holds(store, Compare("none", target, "=", 0))
        assert not await holds(store, Compare("none", target, ">", 0))
    for op in ("=", "!=", "<", ">"):
        assert not await holds(store, Compare("none", Target.VALUE, op, b""))


async def test_compares_that_make_no_sense_are_refused_whatever_the_others_say(store: Store) -> None:
    never = Compare("none", Target.CREATE, ">", 0)
    for wrong in (
        Compare("k", Target.MOD, "~", 1),
        Compare("k", Target.MOD, "=", b"1"),
        Compare("k", Target.VALUE, "=", 1),
    ):
        with pytest.raises(Invalid):
            await store.txn([never, wrong], [])


async def test_a_transaction_takes_one_branch_and_is_one_revision(store: Store) -> None:
    won = await store.txn([absent("a")], [PutOp("a", b"1"), PutOp("b", b"1")], [RangeOp("a")])
    assert (won.succeeded, won.revision, won.results) == (True, 2, (2, 2))
    lost = await store.txn([absent("a")], [PutOp("a", b"2")], [RangeOp("a")])
    assert (lost.succeeded, lost.revision) == (False, 2)
    entry = await store.get("a")
    assert entry is not None
    assert lost.results == (RangeResult(kvs=(entry,), revision=2, count=1),)
    assert (await store.txn([unchanged(entry)], [PutOp("a", b"3")])).succeeded
    assert not (await store.txn([unchanged(entry)], [PutOp("a", b"4")])).succeeded


async def test_later_operations_of_a_transaction_see_earlier_ones(store: Store) -> None:
    await fill(store, "a/1", "a/2")
    result = await store.txn([], [DeleteOp("a/1"), PutOp("a/3", b"3"), RangeOp("a/", prefix=True), DeleteOp("a/1")])
    deleted, put, found, again = result.results
    assert (deleted, put, again) == (1, 4, 0)
    assert isinstance(found, RangeResult)
    assert [entry.key for entry in found.kvs] == ["a/2", "a/3"]


async def test_a_transaction_without_effect_makes_no_revision(store: Store) -> None:
    await store.put("a", b"1")
    result = await store.txn([], [RangeOp("a"), DeleteOp("none")])
    assert (result.succeeded, result.revision) == (True, 2)
    assert (await store.txn([], [])).revision == 2


@pytest.mark.parametrize(
    "ops",
    [
        [PutOp("k", b"1"), PutOp("k", b"2")],
        [PutOp("k", b"1"), DeleteOp("k")],
        [DeleteOp("", prefix=True), PutOp("k", b"1")],
        [DeleteOp("a", end="l"), PutOp("k", b"1")],
        [PutOp(f"k{number}", b"") for number in range(129)],
    ],
    ids=["put twice", "put and deleted", "put under a deleted prefix", "put in a deleted interval", "too long"],
)
async def test_transaction_rules_hold_in_both_branches(store: Store, ops: list[PutOp | DeleteOp]) -> None:
    await store.put("first", b"")
    for then, otherwise in ((ops, []), ([], ops)):
        with pytest.raises(Invalid):
            await store.txn([], then, otherwise)
    assert (await store.txn([], [DeleteOp("", prefix=True), DeleteOp("first")])).results == (1, 0)


async def test_a_refused_transaction_changes_nothing(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.txn([], [PutOp("a", b"1"), PutOp("b", b"1", lease=7)])
    assert await store.range("", prefix=True) == RangeResult(kvs=(), revision=1)


async def test_many_writers_count_without_losing_one(store: Store) -> None:
    await store.put("n", b"0")

    async def increment() -> None:
        while True:
            entry = await store.get("n")
            assert entry is not None
            if (await store.txn([unchanged(entry)], [PutOp("n", b"%d" % (int(entry.value) + 1))])).succeeded:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(40):
            tasks.create_task(increment())
    entry = await store.get("n")
    assert entry is not None
    assert (entry.value, entry.version) == (b"40", 41)


async def test_concurrent_puts_each_have_their_own_revision(store: Store) -> None:
    revisions = await asyncio.gather(*(store.put(f"k{number}", b"") for number in range(500)))
    assert sorted(revisions) == list(range(2, 502))


async def test_who_stops_waiting_disturbs_nobody(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        impatient = [tasks.create_task(store.put(f"a{number}", b"")) for number in range(5)]
        patient = [tasks.create_task(store.put(f"b{number}", b"")) for number in range(5)]
        await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
    assert all(task.result() >= 2 for task in patient)
    assert await keys(store, "b", prefix=True) == [f"b{number}" for number in range(5)]


async def test_closing_finishes_what_was_accepted_and_refuses_the_rest(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        accepted = [tasks.create_task(store.put(f"k{number}", b"")) for number in range(100)]
        await asyncio.sleep(0)
        tasks.create_task(store.close())
    assert sorted(task.result() for task in accepted) == list(range(2, 102))
    for call in (store.get("a"), store.range("a"), store.put("a", b""), store.txn([], []), store.delete("a")):
        with pytest.raises(Unavailable, match="closed"):
            await call
    for call_lease in (store.lease_grant(1), store.lease_keepalive(1), store.lease_revoke(1)):
        with pytest.raises(Unavailable, match="closed"):
            await call_lease
    await store.close()
