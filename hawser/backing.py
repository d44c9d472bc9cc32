"""The store behind a node: its own on this machine, or a cluster's etcd.

Its own is also served in etcd's protocol on a socket beside the API's, so that `hawser kv`, etcdctl and any client of
etcd can use it; of a cluster's the node tells where it is and with which certificate to go there.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hawser.store import SqliteStore, TextStore
from hawser.store.etcd.client import Tls, connect
from hawser.store.etcd.server import Settings, serving

QUOTA = 2 << 30
KV_SOCKET = "kv.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Etcd:
    """How to reach an etcd: endpoints, the CA of its certificates, our own certificate and key, or a user."""

    endpoints: tuple[str, ...]
    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    user: str | None = None
    password: str | None = None

    @property
    def tls(self) -> Tls | None:
        """None: in the clear."""
        if self.cacert is None and self.cert is None:
            return None
        return Tls(ca=self.cacert, cert=self.cert, key=self.key)


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """An open store, of which cluster it is, and how others reach it; `hush` ends serving it to them."""

    store: TextStore
    where: Etcd
    cluster: str | None = None
    hush: Callable[[], Awaitable[None]] = _nothing

    @property
    def own(self) -> bool:
        """Whether it is this machine's."""
        return isinstance(self.store, SqliteStore)

    def document(self) -> dict[str, object]:
        """For callers of the API, who are root on this machine."""
        files = {"cacert": self.where.cacert, "cert": self.where.cert, "key": self.where.key}
        told = {name: None if path is None else str(path) for name, path in files.items()}
        return {"endpoints": list(self.where.endpoints), **told}


@asynccontextmanager
async def own_store(data: Path, run: Path) -> AsyncIterator[Backing]:
    """This machine's store, served on `run`/kv.sock for root alone. Conflict, Unavailable, Corrupt."""
    store = await SqliteStore.open(data / "store", quota=QUOTA)
    try:
        socket = run / KV_SOCKET
        socket.unlink(missing_ok=True)
        url = f"unix://{socket.absolute()}"
        async with AsyncExitStack() as served:
            served.callback(socket.unlink, missing_ok=True)
            before = os.umask(0o177)
            try:
                settings = Settings(urls=(url,))
                await served.enter_async_context(serving(store.raw, [f"unix:{socket.absolute()}"], settings=settings))
            finally:
                os.umask(before)
            yield Backing(store=store, where=Etcd(endpoints=(url,)), hush=served.aclose)
    finally:
        await store.close()


@asynccontextmanager
async def etcd_store(where: Etcd) -> AsyncIterator[Backing]:
    """A cluster's store. Nothing is asked of it yet. Invalid."""
    opened = connect(where.endpoints, tls=where.tls, user=where.user, password=where.password)
    async with opened as store:
        yield Backing(store=TextStore(store), where=where)
