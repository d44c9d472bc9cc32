"""Users and tokens with a real etcd: a token that it forgot is renewed, once, whoever is using it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from hawser.store import Denied, PutOp
from hawser.store.auth.model import Permission, Right
from hawser.store.etcd.client import Auth, EtcdStore, Roles, Users, connect
from tests.etcd import Member, member, needs_etcd

pytestmark = needs_etcd
TRANSPORTS = ("grpc", "gateway")


def root(url: str) -> AbstractAsyncContextManager[EtcdStore]:
    return connect(url, user="root", password="rootpw")


def alice(url: str, transport: str) -> AbstractAsyncContextManager[EtcdStore]:
    return connect(url, transport=transport, user="alice", password="alicepw")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Member]:
    """An etcd that asks who you are; alice may use a/."""

    async def prepare(url: str) -> None:
        async with connect(url) as store:
            users, roles = Users(store.calls), Roles(store.calls)
            await users.add("root", "rootpw")
            await users.grant("root", "root")
            await users.add("alice", "alicepw")
            await roles.add("a")
            await roles.grant("a", Permission(Right.READWRITE, b"a/", b"a0"))
            await users.grant("alice", "a")
            await Auth(store.calls).enable()

    with member("--auth-token-ttl", "1") as running:
        asyncio.run(prepare(running.url))
        yield running


@pytest.fixture
async def forget(guarded: Member) -> AsyncIterator[None]:
    """Nothing now; afterwards etcd is there again."""
    yield
    if guarded.process is None:
        await asyncio.to_thread(guarded.start)


async def restart(member: Member) -> None:
    """Its tokens are in memory only."""
    member.kill()
    await asyncio.to_thread(member.start)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_may_does_and_who_may_not_is_denied(guarded: Member, transport: str) -> None:
    async with alice(guarded.url, transport) as store:
        revision = await store.put(b"a/1", b"")
        async with store.watch(b"a/", prefix=True, from_revision=revision) as batches:
            assert (await asyncio.wait_for(anext(batches), 5)).revision == revision
        for call in (store.put(b"b", b""), store.get(b"b"), store.txn([], [PutOp(b"b", b"")])):
            with pytest.raises(Denied, match="permission denied"):
                await call
        with pytest.raises(Denied):
            async with store.watch(b"b"):
                pass
        with pytest.raises(Denied):
            async with store.watch(b"a/", end=b"c"):
                pass
        assert await store.put(b"a/2", b"") > revision


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_wrong_password_and_none_are_denied(guarded: Member, transport: str) -> None:
    for user, password in (("alice", "guess"), ("nobody", "guess"), (None, None)):
        async with connect(guarded.url, transport=transport, user=user, password=password) as store:
            with pytest.raises(Denied) as caught:
                await store.get(b"a/1")
            assert "guess" not in str(caught.value)
            with pytest.raises(Denied):
                async with store.watch(b"a/1"):
                    pass


async def test_a_wrong_password_is_tried_once_for_all_who_wait(guarded: Member) -> None:
    async with connect(guarded.url, user="alice", password="guess") as store:
        begun = asyncio.get_running_loop().time()
        told = await asyncio.gather(*(store.get(b"a/1") for _ in range(40)), return_exceptions=True)
        assert all(isinstance(each, Denied) for each in told)
        assert asyncio.get_running_loop().time() - begun < 1, "etcd takes its time over each password"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_token_that_etcd_forgot_is_renewed(guarded: Member, forget: None, transport: str) -> None:
    async with alice(guarded.url, transport) as store:
        await store.put(b"a/1", b"")
        async with store.watch(b"a/", prefix=True) as batches:
            await restart(guarded)
            revisions = sorted(await asyncio.gather(*(store.put(b"a/%d" % number, b"") for number in range(8))))
            async with asyncio.timeout(5):
                assert [(await anext(batches)).revision for _ in revisions] == revisions
        lease = await store.lease_grant(60)
        await restart(guarded)
        assert (await store.lease_keepalive(lease.id)).ttl == 60
        await store.lease_revoke(lease.id)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_token_that_ran_out_is_renewed(guarded: Member, transport: str) -> None:
    async with alice(guarded.url, transport) as store, root(guarded.url) as chief:
        await store.put(b"a/1", b"")
        # a change of users makes every token old; waiting for the time to pass would take seconds
        await Users(chief.calls).add(f"new-{transport}", None)
        await Users(chief.calls).delete(f"new-{transport}")
        revision = await store.put(b"a/1", b"2")
        async with store.watch(b"a/1", from_revision=revision) as batches:
            assert (await asyncio.wait_for(anext(batches), 5)).revision == revision


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_password_is_no_harm_where_none_is_asked(etcd: Member, transport: str) -> None:
    async with alice(etcd.url, transport) as store:
        assert await store.put(b"a", b"") > 1
