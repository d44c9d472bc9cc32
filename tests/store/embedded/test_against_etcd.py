"""The same operations on the engine in memory, on the one on disk through restarts, and on a real etcd: whole answers,
errors and events compared, revisions aligned."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from hawser.store import (
    Compacted,
    Compare,
    DeleteOp,
    EventKind,
    LeaseNotFound,
    Op,
    PutOp,
    RangeOp,
    Result,
    SortBy,
    StoreError,
    Target,
    TxnOp,
    TxnResult,
    WatchBatch,
)
from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.engine import Engine
from hawser.store.embedded.memory import MemoryEngine
from tests.etcd import needs_etcd

from .real_etcd import RealEtcd, running

pytestmark = needs_etcd
KEYS = st.sampled_from([b"a", b"a/", b"a/b", b"b", b"c"])
ENDS = st.one_of(st.none(), st.sampled_from([b"a0", b"b", b"\0"]))
VALUES = st.sampled_from([b"", b"1", b"2"])
IDS = st.integers(1, 3)
LEASES = st.sampled_from([0] * 9 + [1, 2, 3])
REVISIONS = st.sampled_from([0, 0, 0, 1, 2, 3, 5, 8, 13, 21, 34])
SETS = st.builds(PutOp, KEYS, VALUES, LEASES, prev_kv=st.booleans())
KEEPS = st.builds(PutOp, KEYS, st.just(b""), LEASES, ignore_value=st.booleans(), ignore_lease=st.booleans())
PUTS = SETS | SETS | KEEPS
# etcd overlooks that a delete from a key on, or one in a later nested transaction, meets a put; we refuse both
DELETES = st.builds(DeleteOp, KEYS, st.sampled_from([None, b"a0", b"b"]), prev_kv=st.booleans())
RANGES = st.builds(
    RangeOp,
    KEYS,
    ENDS,
    limit=st.integers(0, 2),
    revision=REVISIONS,
    keys_only=st.booleans(),
    count_only=st.booleans(),
    sort=st.none() | st.sampled_from(SortBy),
    descending=st.booleans(),
    min_mod=st.sampled_from([0, 0, 3]),
    max_mod=st.sampled_from([0, 0, 20]),
    min_create=st.sampled_from([0, 0, 5]),
    max_create=st.sampled_from([0, 0, 4]),
)
NUMBERS = st.sampled_from([Target.VERSION, Target.CREATE, Target.MOD, Target.LEASE])
SIGNS = st.sampled_from(["=", "!=", "<", ">"])
COMPARES = st.builds(Compare, KEYS, NUMBERS, SIGNS, st.integers(0, 4), ENDS) | st.builds(
    Compare, KEYS, st.just(Target.VALUE), SIGNS, VALUES, ENDS
)
BASIC = PUTS | DELETES | RANGES
SKIPS = st.lists(st.sampled_from(EventKind), max_size=1)
Call = Callable[[Engine], Awaitable[Any]]


def txns(inner: st.SearchStrategy[Op[bytes]]) -> st.SearchStrategy[Op[bytes]]:
    few = st.lists(inner, max_size=3)
    return st.builds(TxnOp, st.lists(COMPARES, max_size=2), few, few)


TXNS = txns(BASIC)
NESTED = txns(BASIC | txns(BASIC | TXNS))


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with running() as etcd:
        yield etcd


def bare(result: Result[bytes], outermost: bool = True) -> Result[bytes]:
    """Ours without the revisions of nested transactions, which etcd does not tell."""
    if not isinstance(result, TxnResult):
        return result
    inner = tuple(bare(each, False) for each in result.results)
    return TxnResult(succeeded=result.succeeded, revision=result.revision if outermost else 0, results=inner)


async def kept_alive(lease: int, engine: Engine) -> float:
    """A lease's ttl, or 0: etcd calls none no error."""
    try:
        return (await engine.lease_keepalive(lease)).ttl
    except LeaseNotFound:
        return 0


async def held(lease: int, engine: Engine) -> tuple[float, tuple[bytes, ...]]:
    """The seconds a lease was granted, and its keys; 0: etcd calls none no error."""
    try:
        status = await engine.lease_time_to_live(lease)
    except LeaseNotFound:
        return 0, ()
    assert status.granted - 20 < status.remaining <= status.granted
    return status.granted, status.keys


def siblings(op: Op[bytes]) -> bool:
    """Whether transactions are nested beside each other."""
    if not isinstance(op, TxnOp):
        return False
    return any(
        sum(isinstance(inner, TxnOp) for inner in branch) > 1 or any(map(siblings, branch))
        for branch in (op.then, op.otherwise)
    )


def outcome(call: Callable[[], Any]) -> Any:
    """What a call answers, or the kind of its refusal."""
    try:
        return call()
    except StoreError as error:
        return type(error)


class AgainstEtcd(RuleBasedStateMachine):
    """Each rule is one operation on all three."""

    etcd: RealEtcd

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.watched = 0
        self.directory = Path(tempfile.mkdtemp(prefix="hw-against-"))
        self.etcd.empty()
        self.memory: Engine = self.runner.run(self.in_memory())
        self.disk = self.runner.run(self.on_disk())
        for engine in (self.memory, self.disk):
            self.runner.run(engine.compact(1))

    async def in_memory(self) -> Engine:
        return MemoryEngine()

    async def on_disk(self) -> Engine:
        return await SqliteEngine.open(self.directory, ring=4)

    def same(self, call: Call, theirs: Callable[[], Any]) -> Any:
        """The answer of all three, or the kind of error."""
        memory, disk = (outcome(partial(self.run, call, engine)) for engine in self.engines)
        assert memory == disk
        want = outcome(theirs)
        assert memory == want
        return want

    def run(self, call: Call, engine: Engine) -> Any:
        async def called() -> Any:
            return await call(engine)

        return self.runner.run(called())

    @property
    def engines(self) -> tuple[Engine, Engine]:
        return self.memory, self.disk

    def apply(self, op: Op[bytes]) -> None:
        async def ours(engine: Engine) -> Any:
            return bare(await engine.apply(op))

        self.same(ours, lambda: self.etcd.apply(op))

    @rule(op=SETS)
    def put(self, op: PutOp[bytes]) -> None:
        self.apply(op)

    @rule(op=SETS, lease=IDS)
    def put_with_a_lease_that_lives(self, op: PutOp[bytes], lease: int) -> None:
        if lease in self.memory.keys.leases:
            self.apply(replace(op, lease=lease))

    @rule(op=DELETES)
    def delete(self, op: DeleteOp[bytes]) -> None:
        self.apply(op)

    @rule(op=RANGES)
    def read(self, op: RangeOp[bytes]) -> None:
        self.apply(op)

    @rule(op=RANGES, back=st.integers(0, 12))
    def read_the_past(self, op: RangeOp[bytes], back: int) -> None:
        self.apply(replace(op, revision=max(self.memory.revision - back, 1)))

    @rule(op=TXNS)
    def change(self, op: Op[bytes]) -> None:
        self.apply(op)

    @rule(op=NESTED)
    def change_within(self, op: Op[bytes]) -> None:
        self.apply(op)

    @rule(ahead=st.integers(-1, 6))
    def compact(self, ahead: int) -> None:
        revision = self.memory.compacted + ahead
        self.same(lambda engine: engine.compact(revision), lambda: self.etcd.compact(revision))

    @rule(lease=IDS, ttl=st.sampled_from([60, 100, 9_000_000_001]))
    def grant(self, lease: int, ttl: int) -> None:
        async def ours(engine: Engine) -> float:
            return (await engine.lease_grant(ttl, id=lease, minimum=2)).ttl

        self.same(ours, lambda: self.etcd.lease_grant(ttl, lease))

    @rule(lease=IDS)
    def revoke(self, lease: int) -> None:
        self.same(lambda engine: engine.lease_revoke(lease), lambda: self.etcd.lease_revoke(lease))

    @rule()
    def look_at_leases(self) -> None:
        self.same(lambda engine: engine.leases(), self.etcd.leases)
        for lease in range(1, 4):
            self.same(partial(kept_alive, lease), partial(self.etcd.lease_keepalive, lease))
            self.same(partial(held, lease), partial(self.etcd.lease_time_to_live, lease))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.disk.close())
        self.disk = self.runner.run(self.on_disk())

    @precondition(lambda self: self.watched < 3)
    @rule(key=KEYS, end=ENDS, old=st.booleans(), nth=st.integers(-2, 9), skips=SKIPS)
    def watch(self, key: bytes, end: bytes | None, old: bool, nth: int, skips: list[EventKind]) -> None:
        """From around the compacted revision, or the present's, to changes of `key` that end it for everybody."""
        if end is not None and end != b"\0" and end <= key:
            return
        self.watched += 1
        first = self.memory.compacted + nth if old else self.memory.revision - nth
        first = min(max(first, 2), self.memory.revision + 2)
        # from the compacted revision itself etcd shows what is left of it, without its deletions; we refuse
        first += first == self.memory.compacted

        async def ours(engine: Engine) -> Any:
            try:
                return await watched(engine)
            except Compacted as late:
                for op in last:
                    await engine.apply(op)
                return late.revision

        async def watched(engine: Engine) -> list[WatchBatch[bytes]]:
            async with engine.watch(key, end=end, from_revision=first, skips=skips) as batches:
                for op in last:
                    await engine.apply(op)
                ended, seen = engine.revision, list[WatchBatch[bytes]]()
                async with asyncio.timeout(5):
                    while not seen or seen[-1].revision < ended - (EventKind.PUT in skips):
                        seen.append(await anext(batches))
            return seen

        def theirs() -> Any:
            try:
                return watched_there()
            except Compacted as late:
                return late.revision

        def watched_there() -> list[WatchBatch[bytes]]:
            with self.etcd.watch(key, end, first, skips) as batches:
                for op in last:
                    self.etcd.apply(op)
                ended, seen = self.memory.revision, list[WatchBatch[bytes]]()
                while not seen or seen[-1].revision < ended - (EventKind.PUT in skips):
                    seen.append(next(batches))
            return seen

        last: list[Op[bytes]] = [PutOp(key, b"first"), DeleteOp(key), PutOp(key, b"last")]
        self.same(ours, theirs)

    def teardown(self) -> None:
        for engine in self.engines:
            self.runner.run(engine.close())
        self.runner.close()
        shutil.rmtree(self.directory)


def history(count: int) -> list[Op[bytes]]:
    """Random changes, always the same."""
    chance, made = random.Random(5), list[Op[bytes]]()
    for number in range(count):
        put = PutOp(b"k%d" % chance.randrange(6), b"%d" % number * chance.randrange(9), chance.choice([0, 0, 1, 2, 3]))
        delete = DeleteOp(b"k%d" % chance.randrange(6))
        ops: list[Op[bytes]] = [put, put, delete, TxnOp(then=[PutOp(b"b", b""), delete, PutOp(b"a", b"")])]
        made.append(chance.choice(ops))
    return made


async def test_a_history_has_the_hash_that_etcd_has(rundir: Path) -> None:
    engines = (MemoryEngine(), await SqliteEngine.open(rundir, ring=4))
    with running() as etcd:
        for lease in range(1, 4):
            etcd.lease_grant(60, lease)
            for engine in engines:
                await engine.lease_grant(60, id=lease)
        for number, op in enumerate(history(150)):
            etcd.apply(op)
            for engine in engines:
                await engine.apply(op)
            revision = engines[0].revision - number % 10
            if number in (60, 105, 149):
                etcd.compact(revision)
                for engine in engines:
                    await engine.compact(revision)
            if number % 7 == 0 and revision > engines[0].compacted:
                want = etcd.hash(revision)
                assert [await engine.hash(revision) for engine in engines] == [want, want]
        etcd.lease_revoke(2)
        for engine in engines:
            await engine.lease_revoke(2)
            assert await engine.hash() == etcd.hash(0)
            await engine.close()


def test_every_answer_and_event_is_etcds(etcd: RealEtcd) -> None:
    AgainstEtcd.etcd = etcd
    run_state_machine_as_test(
        AgainstEtcd,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # each watch of the past takes etcd 0.1 s: no time to make a failure small
            suppress_health_check=list(HealthCheck),
        ),
    )
