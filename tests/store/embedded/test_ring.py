"""The ring of recent events holds no more than so many bytes; who is behind it reads on from the log."""

from pathlib import Path

from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.feed import RING_BYTES


async def test_the_ring_holds_few_large_values_and_watchers_read_on_from_the_log(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir)
    value = bytes(1 << 20)
    async with engine.watch(b"k", from_revision=2) as watch:
        for _ in range(RING_BYTES // len(value) + 6):
            await engine.put(b"k", value)
        assert engine.feed.first == 8
        revisions = [(await anext(watch)).revision for _ in range(RING_BYTES // len(value) + 6)]
        batches, last = await engine.history(b"k", None, 2, 60)
        assert last == batches[-1].revision < 20, "a page has few large values too"
    assert revisions == list(range(2, len(revisions) + 2))
    await engine.close()
