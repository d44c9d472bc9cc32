"""What an engine's watcher says of its progress."""

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
