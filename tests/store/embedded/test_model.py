"""The engine on disk against a model of a few lines, through restarts: same answers, same events, same revisions."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hawser.store import Compacted, DeleteOp, Event, EventKind, Op, PutOp, SqliteStore, unchanged

KEYS = st.sampled_from(["a", "a/", "a/b", "a/\U00010000", "a/\uffff", "b", "c"])
VALUES = st.binary(max_size=3)
KEEP, RING = 12, 4
Row = tuple[bytes, int, int, int]


class AgainstModel(RuleBasedStateMachine):
    """`model` is {key: (value, created, modified, version)}; `log` is what each revision did."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="hw-model-"))
        self.store = self.open()
        self.model: dict[str, Row] = {}
        self.revision = 1
        self.log: dict[int, list[tuple[str, bytes | None]]] = {}

    def open(self) -> SqliteStore:
        return self.runner.run(SqliteStore.open(self.directory, keep=KEEP, ring=RING))

    def change(self, puts: dict[str, bytes], deletes: list[str]) -> None:
        changes: list[tuple[str, bytes | None]] = [(key, None) for key in sorted(deletes, key=str.encode)]
        for key in deletes:
            del self.model[key]
        for key, value in puts.items():
            _, created, _, version = self.model.get(key, (b"", self.revision + 1, 0, 0))
            self.model[key] = (value, created, self.revision + 1, version + 1)
            changes.append((key, value))
        if changes:
            self.revision += 1
            self.log[self.revision] = changes

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: bytes) -> None:
        assert self.runner.run(self.store.put(key, value)) == self.revision + 1
        self.change({key: value}, [])

    @rule(key=KEYS, prefix=st.booleans())
    def delete(self, key: str, prefix: bool) -> None:
        gone = [have for have in self.model if have == key or (prefix and have.startswith(key))]
        assert self.runner.run(self.store.delete(key, prefix=prefix)) == len(gone)
        self.change({}, gone)

    @rule(claim=KEYS, key=KEYS, value=VALUES, doomed=KEYS)
    def compare_and_swap(self, claim: str, key: str, value: bytes, doomed: str) -> None:
        entry = self.runner.run(self.store.get(claim))
        if entry is None or doomed == key:
            return
        then: list[Op] = [DeleteOp(doomed), PutOp(key, value)]
        assert self.runner.run(self.store.txn([unchanged(entry)], then)).succeeded
        self.change({key: value}, [doomed] if doomed in self.model else [])

    @rule(values=st.lists(VALUES, min_size=2, max_size=20))
    def many_at_once(self, values: list[bytes]) -> None:
        async def together() -> list[int]:
            return await asyncio.gather(*(self.store.put("a/b", value) for value in values))

        assert self.runner.run(together()) == [self.revision + 1 + nth for nth in range(len(values))]
        for value in values:
            self.change({"a/b": value}, [])

    @rule(key=KEYS)
    def a_lease_comes_and_goes(self, key: str) -> None:
        lease = self.runner.run(self.store.lease_grant(60))
        self.runner.run(self.store.put(key, b"leased", lease=lease.id))
        self.change({key: b"leased"}, [])
        self.reopen()
        self.runner.run(self.store.lease_revoke(lease.id))
        self.change({}, [key])

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.store.close())
        self.store = self.open()

    @rule(back=st.integers(0, 40), prefix=st.sampled_from(["", "a/", "b"]))
    def watch(self, back: int, prefix: str) -> None:
        first = max(2, self.revision - back)
        expected = [
            (revision, [change for change in changes if change[0].startswith(prefix)])
            for revision, changes in sorted(self.log.items())
            if revision >= first
        ]
        expected = [(revision, changes) for revision, changes in expected if changes]
        try:
            assert self.runner.run(self.read(prefix, first, len(expected))) == expected
        except Compacted:
            assert self.revision - first >= KEEP, "the last KEEP revisions are kept"

    async def read(self, prefix: str, first: int, count: int) -> list[tuple[int, list[tuple[str, bytes | None]]]]:
        async with asyncio.timeout(5), self.store.watch(prefix, prefix=True, from_revision=first) as batches:
            seen = [await anext(batches) for _ in range(count)]
        for batch in seen:
            for event in batch.events:
                self.check_before(event)
        return [
            (
                batch.revision,
                [(event.kv.key, event.kv.value if event.kind is EventKind.PUT else None) for event in batch.events],
            )
            for batch in seen
        ]

    def check_before(self, event: Event) -> None:
        revision = event.kv.mod_revision
        past = [
            (r, value) for r, changes in self.log.items() for k, value in changes if k == event.kv.key and r < revision
        ]
        before = max(past, default=(0, None))
        assert (event.prev.mod_revision, event.prev.value) == before if event.prev else before[1] is None

    @invariant()
    def same_keys(self) -> None:
        found = self.runner.run(self.store.range("", prefix=True))
        assert found.revision == self.revision
        assert [
            (entry.key, (entry.value, entry.create_revision, entry.mod_revision, entry.version)) for entry in found.kvs
        ] == sorted(self.model.items(), key=lambda item: item[0].encode())

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.directory)


AgainstModel.TestCase.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgainstModel = AgainstModel.TestCase
