"""Calls to a cluster whose members answer or not, played."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hawser.store import Denied, StoreError, Unavailable
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.client.drivers.pool import Pool
from hawser.store.etcd.client.drivers.session import Credentials
from hawser.store.etcd.client.endpoints import parse
from hawser.store.etcd.client.retry import OutcomeUnknown
from hawser.store.etcd.client.transport import Failed
from hawser.store.etcd.errors import Code, EtcdError

from .fake import Answer, network

DOWN, CUT = Failed("refused", sent=False), Failed("cut", sent=True)
NO_LEADER = EtcdError(Code.UNAVAILABLE, "etcdserver: no leader")
STALE = EtcdError(Code.UNAUTHENTICATED, "etcdserver: invalid auth token")
DENIED = EtcdError(Code.PERMISSION_DENIED, "etcdserver: permission denied")
Log = list[tuple[str, str, str]]


@asynccontextmanager
async def pool(log: Log, *, user: bool = False, timeout: float = 1.0, **scripts: list[Answer]) -> AsyncIterator[Pool]:
    credentials = Credentials("u", "secret") if user else None
    transports = network(scripts, log)
    made = Pool(parse(list(scripts)), transports, timeout=timeout, credentials=credentials, chance=lambda: 0.0)
    yield made
    await made.close()


async def read(pool: Pool) -> None:
    await pool.call(services.RANGE, pb.RangeRequest(key=b"a"), repeatable=True)


async def change(pool: Pool) -> None:
    await pool.call(services.PUT, pb.PutRequest(key=b"a"))


def asked(log: Log) -> str:
    return "".join(host for host, _, _ in log)


async def test_the_endpoint_that_works_is_kept() -> None:
    log: Log = []
    async with pool(log, a=[DOWN], b=[None]) as cluster:
        for _ in range(3):
            await change(cluster)
    assert asked(log) == "abbb"


async def test_what_reached_nobody_and_what_was_refused_for_want_of_a_leader_goes_elsewhere() -> None:
    for failure in (DOWN, NO_LEADER):
        log: Log = []
        async with pool(log, a=[failure], b=[failure, None]) as cluster:
            await change(cluster)
        assert asked(log)[:2] == "ab"


async def test_a_change_that_may_have_been_made_is_not_made_again() -> None:
    log: Log = []
    async with pool(log, a=[CUT], b=[None]) as cluster:
        with pytest.raises(OutcomeUnknown, match=r"etcd at http://a:2379 .*\(cut\): the outcome of Put is unknown"):
            await change(cluster)
        await read(cluster)
    assert asked(log) == "ab", "the next call goes elsewhere at once"


async def test_a_read_that_was_cut_is_read_elsewhere() -> None:
    log: Log = []
    async with pool(log, a=[CUT], b=[None]) as cluster:
        await read(cluster)
    assert asked(log) == "ab"


async def test_a_silent_endpoint_leaves_time_for_another() -> None:
    log: Log = []
    async with pool(log, a=[60.0], b=[None]) as cluster, asyncio.timeout(0.9):
        await read(cluster)
    assert asked(log) == "ab"


async def test_a_beat_that_hangs_is_tried_again_where_there_is_one_endpoint_too() -> None:
    log: Log = []
    async with pool(log, a=[60.0, None]) as cluster, asyncio.timeout(0.9):
        await cluster.call(services.LEASE_KEEP_ALIVE, pb.LeaseKeepAliveRequest(ID=1), repeatable=True, attempt=0.05)
    assert asked(log) == "aa"


async def test_a_call_ends_at_its_deadline_and_names_all_it_tried() -> None:
    log: Log = []
    loop = asyncio.get_running_loop()
    async with pool(log, a=[DOWN], b=[CUT], timeout=0.2) as cluster:
        begun = loop.time()
        with pytest.raises(Unavailable) as caught:
            await read(cluster)
        assert (
            str(caught.value) == "etcd does not answer at http://a:2379 (refused), http://b:2379 (cut); is it running?"
        )
        assert 0.05 < loop.time() - begun < 0.4
    assert 4 < len(log) < 40, "tried again, and not all the time"


async def test_certificates_that_are_wrong_everywhere_are_told_at_once() -> None:
    log: Log = []
    wrong = Failed("its certificate is not accepted", sent=False, final=True)
    async with pool(log, a=[wrong], b=[wrong], timeout=60) as cluster, asyncio.timeout(1):
        with pytest.raises(Unavailable, match="certificate"):
            await read(cluster)
    assert asked(log) == "ab"


async def test_one_endpoint_asked_by_name_is_asked_alone() -> None:
    log: Log = []
    async with pool(log, a=[DOWN], b=[None]) as cluster:
        with pytest.raises(Unavailable, match=r"not answer at http://a:2379 \(refused\); is it running"):
            await cluster.call(services.STATUS, pb.Empty(), repeatable=True, at=cluster.endpoints[0])
        await cluster.call(services.STATUS, pb.Empty(), repeatable=True, at=cluster.endpoints[1])
    assert asked(log) == "ab"


async def test_an_answer_is_an_answer() -> None:
    log: Log = []
    async with pool(log, a=[DENIED], b=[None]) as cluster:
        with pytest.raises(Denied):
            await read(cluster)
    assert asked(log) == "a"


async def test_a_token_is_got_first_and_shown_always() -> None:
    log: Log = []
    async with pool(log, user=True, a=[None]) as cluster:
        await read(cluster)
        await change(cluster)
    assert log == [("a", "Authenticate", ""), ("a", "Range", "t1"), ("a", "Put", "t1")]


async def test_many_who_were_refused_at_once_get_one_new_token() -> None:
    log: Log = []
    async with pool(log, user=True, a=[*[STALE] * 20, None]) as cluster:
        await cluster.session.token()
        await asyncio.gather(*(change(cluster) for _ in range(20)))
    assert [name for _, name, _ in log].count("Authenticate") == 2
    assert log[-1] == ("a", "Put", "t2")


async def test_a_token_that_is_never_taken_is_denied() -> None:
    log: Log = []
    async with pool(log, user=True, a=[STALE]) as cluster, asyncio.timeout(1):
        with pytest.raises(Denied, match="log in again") as caught:
            await change(cluster)
    assert "secret" not in str(caught.value) + repr(cluster.session.credentials)
    assert len(log) < 10


async def test_who_has_no_user_is_told_that_one_is_needed() -> None:
    empty = EtcdError(Code.INVALID_ARGUMENT, "etcdserver: user name is empty")
    async with pool([], a=[empty]) as cluster:
        with pytest.raises(Denied, match="say who asks"):
            await read(cluster)


async def test_closing_waits_for_what_is_under_way_and_refuses_the_rest() -> None:
    log: Log = []
    async with pool(log, a=[0.05]) as cluster, asyncio.TaskGroup() as tasks:
        under_way = tasks.create_task(change(cluster))
        await asyncio.sleep(0)
        await cluster.close()
        assert under_way.done()
        with pytest.raises(StoreError, match="closed"):
            await read(cluster)


async def test_moving_on_lets_the_old_connections_finish() -> None:
    log: Log = []
    async with pool(log, timeout=0.05, a=[0.01], b=[None]) as cluster, asyncio.TaskGroup() as tasks:
        cluster.roster = type(cluster.roster)(cluster.endpoints[:1], lambda: 0.0)
        tasks.create_task(change(cluster))
        await asyncio.sleep(0)
        tasks.create_task(cluster.move(parse("b")))
        await asyncio.sleep(0)
        await change(cluster)
    assert asked(log) == "ab"
