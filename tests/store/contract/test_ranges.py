"""What a range can ask for: counts, keys only, orders, bounds, from a key on. Rules are etcd's."""

import pytest

from hawser.store import Invalid, PutOp, RangeOp, SortBy, Store, TxnOp

ALL = {"key": "", "prefix": True}


@pytest.fixture
async def filled(store: Store) -> Store:
    """key: value, created, modified, version: a 3 2 5 2, b 1 3 6 2, c 2 4 4 1."""
    for key, value in (("a", b""), ("b", b""), ("c", b"2"), ("a", b"3"), ("b", b"1")):
        await store.put(key, value)
    return store


async def names(store: Store, op: RangeOp) -> str:
    return "".join(entry.key for entry in (await store.read(op)).kvs)


@pytest.mark.parametrize(
    ("sort", "up", "down"),
    [
        (SortBy.KEY, "abc", "cba"),
        (SortBy.VERSION, "cab", "abc"),
        (SortBy.CREATE, "abc", "cba"),
        (SortBy.MOD, "cab", "bac"),
        (SortBy.VALUE, "bca", "acb"),
    ],
)
async def test_every_order(filled: Store, sort: SortBy, up: str, down: str) -> None:
    assert await names(filled, RangeOp("", prefix=True, sort=sort)) == up
    assert await names(filled, RangeOp("", prefix=True, sort=sort, descending=True)) == down
    found = await filled.read(RangeOp("", prefix=True, sort=sort, limit=1))
    assert ([entry.key for entry in found.kvs], found.more, found.count) == ([up[0]], True, 3)


@pytest.mark.parametrize(
    ("op", "left"),
    [
        (RangeOp("", prefix=True, min_mod=5), "ab"),
        (RangeOp("", prefix=True, max_mod=5), "ac"),
        (RangeOp("", prefix=True, min_create=3), "bc"),
        (RangeOp("", prefix=True, max_create=3), "ab"),
        (RangeOp("", prefix=True, min_create=3, max_mod=5), "c"),
    ],
)
async def test_bounds_leave_keys_out_and_the_count_alone(filled: Store, op: RangeOp, left: str) -> None:
    found = await filled.read(op)
    assert ("".join(entry.key for entry in found.kvs), found.count, found.more) == (left, 3, False)


async def test_bounds_hold_for_one_key_too(filled: Store) -> None:
    found = await filled.read(RangeOp("a", min_mod=6))
    assert (found.kvs, found.count) == ((), 1)


async def test_a_limit_is_of_what_the_bounds_left(filled: Store) -> None:
    found = await filled.read(RangeOp("", prefix=True, min_mod=5, limit=1))
    assert ([entry.key for entry in found.kvs], found.more, found.count) == (["a"], True, 3)
    assert not (await filled.read(RangeOp("", prefix=True, min_mod=5, limit=2))).more


async def test_keys_only_leaves_the_values_out_after_sorting_by_them(filled: Store) -> None:
    found = await filled.read(RangeOp("", prefix=True, keys_only=True, sort=SortBy.VALUE))
    assert [(entry.key, entry.value, entry.version) for entry in found.kvs] == [
        ("b", b"", 2),
        ("c", b"", 1),
        ("a", b"", 2),
    ]
    (one,) = (await filled.read(RangeOp("a", keys_only=True))).kvs
    assert (one.value, one.mod_revision) == (b"", 5)
    entry = await filled.get("a")
    assert entry is not None
    assert entry.value == b"3"


async def test_count_only_gives_no_keys(filled: Store) -> None:
    for op, count in (
        (RangeOp("", prefix=True, count_only=True, limit=1), 3),
        (RangeOp("b", end="c", count_only=True), 1),
    ):
        found = await filled.read(op)
        assert (found.kvs, found.count, found.more) == ((), count, False)
    assert (await filled.read(RangeOp("none", count_only=True))).count == 0


async def test_the_count_in_a_transaction_is_of_its_keys(filled: Store) -> None:
    result = await filled.txn([], [PutOp("d", b""), PutOp("a", b""), RangeOp("", prefix=True, count_only=True)])
    assert getattr(result.results[2], "count", None) == 4
    gone = await filled.txn([], [TxnOp(then=[RangeOp("b", end="z", limit=1)])])
    (nested,) = gone.results
    assert getattr(nested, "results")[0].count == 3  # noqa: B009


async def test_from_a_key_on(filled: Store) -> None:
    assert await names(filled, RangeOp("b", end="\0")) == "bc"
    assert await names(filled, RangeOp("", end="\0")) == "abc"
    assert await filled.delete("b", end="\0") == 2
    assert await names(filled, RangeOp("", prefix=True)) == "a"


async def test_an_end_before_the_key_is_an_empty_range(filled: Store) -> None:
    found = await filled.read(RangeOp("c", end="a"))
    assert (found.kvs, found.count) == ((), 0)


async def test_negative_bounds_are_refused(filled: Store) -> None:
    with pytest.raises(Invalid, match="negative"):
        await filled.read(RangeOp("a", min_mod=-1))
