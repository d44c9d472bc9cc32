"""What an engine's watchers say of their progress, share, and cost."""

import pytest

from hawser.store import DeleteOp, EventKind, PutOp
from hawser.store.embedded.engine import Engine


async def test_progress_is_told_when_all_was_handed_out(engine: Engine) -> None:
    async with engine.watch(b"a") as watcher:
        assert [watcher.progress] == [1]
        await engine.put(b"other", b"")
        assert [watcher.progress] == [2]
        await engine.put(b"a", b"")
        assert [watcher.progress] == [None]
        assert (await watcher.wait(5)).revision == 3
        assert [watcher.progress] == [3]
        quiet = await watcher.wait(0.01)
        assert (quiet.revision, quiet.events) == (3, ())


async def test_watchers_of_the_same_range_are_told_the_same_object(engine: Engine) -> None:
    async with (
        engine.watch(b"a", prefix=True) as one,
        engine.watch(b"a", prefix=True) as two,
        engine.watch(b"a", prefix=True, skips=[EventKind.DELETE]) as puts,
    ):
        await engine.put(b"a1", b"")
        await engine.txn([], [PutOp(b"a", b""), PutOp(b"b", b""), DeleteOp(b"a1")])
        for _ in range(2):
            batch = await anext(one)
            assert await anext(two) is batch
            assert (await anext(puts)).events[0] is batch.events[0]


@pytest.mark.parametrize("first", [None, 5])
async def test_who_wants_nothing_of_it_is_not_touched(engine: Engine, first: int | None) -> None:
    async with engine.watch(b"a", from_revision=first) as watcher:
        for _ in range(5):
            await engine.put(b"b", b"")
        assert not watcher.wake.is_set()
        assert (watcher.next, watcher.progress) == (7, 6)
        await engine.put(b"a", b"")
        await engine.put(b"a", b"")
        assert watcher.wake.is_set()
        assert (watcher.next, watcher.progress) == (7, None)
        assert (await anext(watcher)).revision == 7
        assert (await anext(watcher)).revision == 8
        await engine.put(b"b", b"")
        assert (watcher.next, watcher.progress) == (10, 9)
