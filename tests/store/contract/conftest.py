"""The contract runs on the embedded engines, on a real etcd and on our own server, through each of the client's
transports."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hawser.store import MemoryStore, SqliteStore, Store, TextStore
from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd.client import connect
from hawser.store.etcd.server.serving import serving
from hawser.store.scoped import ScopedStore
from tests.etcd import Member, member, needs_etcd

from ..conftest import Make
from ..etcd.client.aligned import emptied

NO_ORDER = "what is sent at once over a network arrives in any order"
NOT_ETCD = {
    "test_a_watch_that_is_behind_is_told": "the client has received it already",
    "test_the_values_of_a_request_are_bounded": "etcd counts the whole request",
    "test_a_put_and_the_end_of_its_lease_at_once_agree": NO_ORDER,
    "test_a_read_of_what_a_group_under_way_makes_waits_for_it": NO_ORDER,
    "test_closing_ends_a_watch_after_its_last_event": NO_ORDER,
    "test_a_watch_that_skips_everything_sees_nothing_and_still_comes_along": "etcd cannot be asked before 3.4.31",
}
# seconds each, and the same whichever transport carries the calls
LONG = {
    "test_keys_end_with_their_lease_in_one_revision",
    "test_a_lease_lasts_its_time",
    "test_keeping_alive_begins_the_time_anew",
    "test_every_starting_point_gives_the_same_tail_or_says_compacted",
}


NOT_SCOPED = {
    "test_a_key_that_cannot_be_is_refused_everywhere": "the scope takes some of a key's room",
    "test_the_values_of_a_request_are_bounded": "the message names the whole store's key",
}


class Scope(ScopedStore):
    """One that closes the whole."""

    async def close(self) -> None:
        await self.raw.close()


@pytest.fixture(scope="session")
def etcd() -> Iterator[Member]:
    """One for all: each test finds it empty."""
    with member() as running:
        yield running


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        "scoped",
        pytest.param("etcd grpc", marks=needs_etcd),
        pytest.param("etcd gateway", marks=needs_etcd),
        "served grpc",
        "served gateway",
    ]
)
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Open a new store that keeps `ring` revisions in memory (etcd keeps all); closed and removed afterwards."""
    kind, _, transport = request.param.partition(" ")
    if transport and (reason := NOT_ETCD.get(request.node.originalname)):
        pytest.skip(reason)
    if request.param in ("etcd gateway", "served grpc", "served gateway") and request.node.originalname in LONG:
        pytest.skip("long; done with etcd over gRPC")
    if kind == "scoped" and (reason := NOT_SCOPED.get(request.node.originalname)):
        pytest.skip(reason)
    async with AsyncExitStack() as stack:

        async def opened(ring: int) -> Store:
            store: Store
            if kind == "etcd":
                url = request.getfixturevalue("etcd").url
                store = TextStore(await emptied(await stack.enter_async_context(connect(url, transport=transport))))
            elif kind == "served":
                engine = MemoryEngine(ring=ring)
                stack.push_async_callback(engine.close)
                here = await stack.enter_async_context(serving(engine, ["127.0.0.1:0"], grace=0))
                url = f"http://127.0.0.1:{here.ports[0]}"
                store = TextStore(await stack.enter_async_context(connect(url, transport=transport)))
            elif kind == "memory":
                store = MemoryStore(ring=ring)
            elif kind == "scoped":
                store = Scope(MemoryStore(ring=ring), "scope/")
            else:
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="hw-store-"))
                store = await SqliteStore.open(Path(directory), ring=ring)
            stack.push_async_callback(store.close)
            return store

        yield opened
