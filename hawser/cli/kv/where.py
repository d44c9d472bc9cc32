"""Which store a verb means, and the way to it: `open_kv`.

Endpoints that were named (`--endpoints`, HAWSER_ENDPOINTS) are used as they are. Without them the running node is asked
where its store is. In that store the keys under /hawser/ are the node's own, on which its parts act at once; a verb
that would change them there is refused.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...faults import Fault, kind_of
from ..common import client
from .group import META

if TYPE_CHECKING:
    from hawser.store import Op
    from hawser.store.etcd.client import EtcdStore, Tls

T = TypeVar("T")
TIMEOUT = 5.0
OWN = b"/hawser/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A store and who asks; `own`: it is the running node's."""

    endpoints: tuple[str, ...]
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = None
    timeout: float = TIMEOUT
    own: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """What makes another `hawser kv` mean the same store; no password."""
        if self.own:
            return {}
        named = {
            "HAWSER_ENDPOINTS": ",".join(self.endpoints),
            "HAWSER_KV_CACERT": self.cacert,
            "HAWSER_KV_CERT": self.cert,
            "HAWSER_KV_KEY": self.key,
            "HAWSER_KV_USER": self.user,
        }
        return {name: value for name, value in named.items() if value}


def here() -> Where:
    """What the command line says. Fault when it makes no sense, or when no node answers that could say where."""
    given: dict[str, Any] = click.get_current_context().meta.get(META, {})
    user, password = _credentials(given.get("user"))
    timeout = given.get("timeout", TIMEOUT)
    if "endpoints" in given:
        return Where(
            endpoints=split(given["endpoints"]),
            cacert=given.get("cacert"),
            cert=given.get("cert"),
            key=given.get("tls_key"),
            user=user,
            password=password,
            timeout=timeout,
        )
    store = client().get("/v1/store")
    return Where(
        endpoints=tuple(store["endpoints"]),
        cacert=store.get("cacert"),
        cert=store.get("cert"),
        key=store.get("key"),
        user=user,
        password=password,
        timeout=timeout,
        own=True,
    )


def split(text: str) -> tuple[str, ...]:
    """Endpoints as the client has them: `etcd://a,b` and `etcds://a,b` name one cluster, `unix:PATH` a socket."""
    found = list[str]()
    scheme = "http"
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part.startswith(("etcd://", "etcds://")):
            name, _, part = part.partition("://")
            scheme = "https" if name == "etcds" else "http"
        if part.startswith("unix:"):
            path = part.removeprefix("unix:").removeprefix("//")
            found.append(f"unix://{os.path.abspath(path)}")
        elif "://" in part:
            found.append(part)
        else:
            found.append(f"{scheme}://{part}")
    if not found:
        raise Fault("no endpoint is given; give one, such as http://127.0.0.1:2379", "usage")
    return tuple(found)


def _credentials(given: str | None) -> tuple[str | None, str | None]:
    if not given:
        return None, None
    name, colon, password = given.partition(":")
    if colon:
        return name, password
    kept = os.environ.get("HAWSER_KV_PASSWORD")
    if kept is not None:
        return name, kept
    if not sys.stdin.isatty():
        raise Fault(f"no password for {name}; set HAWSER_KV_PASSWORD", "usage")
    return name, click.prompt(f"Password of {name}", hide_input=True, err=True)


@asynccontextmanager
async def open_kv(where: Where | None = None, *, timeout: float | None = None) -> AsyncIterator["EtcdStore"]:
    """The store; nothing is asked of it yet. `timeout` is for calls that take longer than others. Fault."""
    where = where or here()
    # its own lines about a refused certificate would stand beside ours
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from hawser.store.etcd.client import connect

    async with connect(
        where.endpoints,
        tls=tls(where),
        user=where.user,
        password=where.password,
        timeout=max(where.timeout, timeout or 0),
    ) as store:
        yield store


def tls(where: Where) -> "Tls | None":
    """The files that were named, read once to see that they are what they should be. Fault."""
    if not (where.cacert or where.cert or where.key):
        return None
    import ssl

    from hawser.store.etcd.client import Tls

    if bool(where.cert) != bool(where.key):
        raise Fault("a certificate needs its key and a key its certificate; give --cert and --key", "usage")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if where.cacert:
            context.load_verify_locations(where.cacert)
    except (ssl.SSLError, OSError) as error:
        raise Fault(f"{where.cacert} is no certificate in PEM ({_reason(error)}); give the CA's", "usage") from None
    try:
        if where.cert:
            context.load_cert_chain(where.cert, where.key)
    except (ssl.SSLError, OSError) as error:
        wrong = f"{where.cert} and {where.key} are not a certificate and its key in PEM ({_reason(error)})"
        raise Fault(wrong, "usage") from None
    ca, cert, key = (Path(name) if name else None for name in (where.cacert, where.cert, where.key))
    return Tls(ca=ca, cert=cert, key=key)


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error).lower().replace("_", " ")


def run(work: Coroutine[Any, Any, T]) -> T | int:
    """Run a verb to its end; SIGTERM ends it as Ctrl-C does, with what it holds let go, and exit code 143."""
    try:
        return asyncio.run(_until_term(work))
    except BaseExceptionGroup as group:
        raise first(group) from group


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong where several tasks ended together: what was foreseen, if anything was."""
    leaves = list[BaseException]()
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((error for error in leaves if kind_of(error)), leaves[0])


async def _until_term(work: Coroutine[Any, Any, T]) -> T | int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    ended = False

    def end() -> None:
        nonlocal ended
        ended = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        return await work
    except asyncio.CancelledError:
        if not ended:
            raise
        return 128 + signal.SIGTERM


def check_shared(where: Where) -> None:
    """Refuse to tell users apart where machines come with certificates and are no users: all would be shut out. A
    node's store of its own, which is a socket, is used by the node from within. Fault."""
    if where.own and not all(endpoint.startswith("unix:") for endpoint in where.endpoints):
        wrong = "this store is its machines' too, and they are no users of it: all of them would be shut out"
        raise Fault(f"{wrong}; name --endpoints if that is meant", "denied")


def check_own(where: Where, op: "Op[bytes]") -> None:
    """Refuse a change of what the node keeps for itself. Fault."""
    from hawser.store import DeleteOp, PutOp, TxnOp
    from hawser.store.embedded.keyspace import bounds, upper_bound

    if not where.own:
        return
    if isinstance(op, TxnOp):
        for each in (*op.then, *op.otherwise):
            check_own(where, each)
    elif isinstance(op, PutOp | DeleteOp):
        end, prefix = (op.end, op.prefix) if isinstance(op, DeleteOp) else (None, False)
        low, high = bounds(op.key, end, prefix)
        last = upper_bound(OWN)
        assert last is not None
        if low < last and (high is None or high > OWN):
            raise Fault("keys below /hawser/ are the node's own; use its commands, or another prefix", "denied")
