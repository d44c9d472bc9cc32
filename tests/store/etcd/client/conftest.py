"""One real etcd for the tests of the client; each begins with it empty."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.etcd import Member, member

from .proxy import Proxy, proxy


@pytest.fixture(scope="package")
def etcd() -> Iterator[Member]:
    with member() as running:
        yield running


@pytest.fixture
async def door(etcd: Member) -> AsyncIterator[Proxy]:
    """A way to it that can fail."""
    async with proxy(etcd.port) as made:
        yield made


@pytest.fixture
async def other_door(etcd: Member) -> AsyncIterator[Proxy]:
    """Another way to it."""
    async with proxy(etcd.port) as made:
        yield made
