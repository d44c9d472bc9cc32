"""What keeps a store well: `kv compact`, `defrag`, `alarm`, `status`, `health`, `hash`.

What concerns one member is asked of each endpoint by itself; with `--cluster` of each member, as they are listed. What
an endpoint that fails says is one line, the others' rows are printed all the same, and the exit code is 5.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...faults import Fault
from ..common import as_json, listing, show_json
from .group import Nouns, Verb
from .where import here, open_kv, run, split

if TYPE_CHECKING:
    from hawser.store.etcd.client import Endpoint, EtcdStore, Upkeep

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
LONG = 300.0  # seconds for what may take its time


def cluster_option(command: F) -> F:
    """--cluster."""
    return click.option("--cluster", is_flag=True, help="Every member, not only the endpoints given.")(command)


@asynccontextmanager
async def members_of(cluster: bool, timeout: float | None = None) -> AsyncIterator["EtcdStore"]:
    """The store; with `cluster`, with every member's client URL as an endpoint."""
    where = here()
    if cluster:
        from hawser.store.etcd.client import Members

        async with open_kv(where) as store:
            urls = [url for member in await Members(store.calls).list() for url in member.client_urls]
        where = replace(where, endpoints=split(",".join(urls)))
    async with open_kv(where, timeout=timeout) as store:
        yield store


async def each(
    store: "EtcdStore", ask: "Callable[[Upkeep, Endpoint], Awaitable[T]]"
) -> "tuple[list[T], list[Exception]]":
    """Ask every endpoint by itself: what they answered, and what went wrong at the others."""
    from hawser.store import StoreError
    from hawser.store.etcd.client import Upkeep

    upkeep, found, failures = Upkeep(store.calls), list[T](), list[Exception]()
    for endpoint in upkeep.endpoints:
        try:
            found.append(await ask(upkeep, endpoint))
        except StoreError as error:
            failures.append(error)
    return found, failures


def told(failures: "list[Exception]") -> int:
    """A line for each but the first, which is raised."""
    for error in failures[1:]:
        click.echo(f"hawser: {error}", err=True)
    if failures:
        raise failures[0]
    return 0


@click.command(cls=Verb)
@click.option("--physical", is_flag=True, help="Wait until the past is off the disk.")
@click.argument("revision", metavar="REV", type=click.IntRange(1))
def compact(revision: int, physical: bool) -> int:
    """Forget what is older than the keys at revision REV, the oldest that can be read from then on.

    Watches that are further behind end. The space is free for other keys, and given back to the disk by kv defrag.
    """
    return run(_compact(revision, physical))


async def _compact(revision: int, physical: bool) -> int:
    async with open_kv(timeout=LONG if physical else None) as store:
        await store.compact(revision)
        if physical:
            await _physical(store, revision)
    click.echo(f"compacted {revision}")
    return 0


async def _physical(store: "EtcdStore", revision: int) -> None:
    """What was just compacted, once more, and this time until it is off the disk."""
    from hawser.store import Compacted
    from hawser.store.etcd import etcd_pb2 as pb
    from hawser.store.etcd import services

    try:
        await store.calls.call(services.COMPACT, pb.CompactionRequest(revision=revision, physical=True))
    except Compacted:
        return


@click.command(cls=Verb)
@cluster_option
def defrag(cluster: bool) -> int:
    """Give the space of what was forgotten back to the disk; a member answers nobody meanwhile."""

    async def work() -> int:
        async def ask(upkeep: "Upkeep", endpoint: "Endpoint") -> None:
            await upkeep.defragment(endpoint, timeout=LONG)
            click.echo(f"defragmented {endpoint}")

        async with members_of(cluster, LONG) as store:
            return told((await each(store, ask))[1])

    return run(work())


@click.command(cls=Verb)
@cluster_option
@as_json
def status(cluster: bool, json_: bool) -> int:
    """Each endpoint's version, size, leader and revision. LEADS says who leads; SIZE and USED are bytes."""

    async def work() -> int:
        async with members_of(cluster) as store:
            found, failures = await each(store, lambda upkeep, endpoint: upkeep.status(endpoint))
        documents = [
            {
                "endpoint": str(one.endpoint),
                "cluster": f"{one.cluster:x}",
                "member": f"{one.member:x}",
                "version": one.version,
                "size": one.size,
                "in_use": one.in_use,
                "leader": f"{one.leader:x}" if one.leader else None,
                "learner": one.learner,
                "revision": one.revision,
                "term": one.term,
                "index": one.index,
                "applied": one.applied,
                "errors": list(one.errors),
            }
            for one in found
        ]
        columns = ("ENDPOINT", "MEMBER", "VERSION", "SIZE", "USED", "LEADS", "REVISION", "TERM", "INDEX", "ERRORS")
        rows = [
            (
                *(one.endpoint, f"{one.member:x}", one.version, one.size, one.in_use),
                "learner" if one.learner else "yes" if one.leader == one.member else "no",
                *(one.revision, one.term, one.index, " ".join(error.strip() for error in one.errors)),
            )
            for one in found
        ]
        if found or json_:
            listing(json_, documents, columns, rows)
        return told(failures)

    return run(work())


@click.command("hash", cls=Verb)
@cluster_option
@click.option("--rev", "revision", type=click.IntRange(0), default=0, help="As of this revision.")
@as_json
def hash_(cluster: bool, revision: int, json_: bool) -> int:
    """Each endpoint's hash of all that it keeps up to a revision: equal on equal members."""

    async def work() -> int:
        async with members_of(cluster) as store:
            found, failures = await each(store, lambda upkeep, at: upkeep.hash(at, revision=revision))
        documents = [
            {"endpoint": str(one.endpoint), "hash": one.hash, "revision": one.revision, "compacted": one.compacted}
            for one in found
        ]
        rows = [(one.endpoint, one.hash, one.revision, one.compacted) for one in found]
        if found or json_:
            listing(json_, documents, ("ENDPOINT", "HASH", "REVISION", "COMPACTED"), rows)
        return told(failures)

    return run(work())


@click.command(cls=Verb)
@cluster_option
@as_json
def health(cluster: bool, json_: bool) -> int:
    """Whether each endpoint answers a read of the whole cluster, and how fast; exit code 5 when one does not."""

    async def work() -> int:
        async with members_of(cluster) as store:
            found, _ = await each(store, lambda upkeep, endpoint: _health(store, endpoint))
        if json_:
            show_json(found)
        else:
            rows = [(one["endpoint"], _word(one), f"{one['took']:.1f} ms", one["error"] or "") for one in found]
            listing(False, (), ("ENDPOINT", "HEALTH", "TOOK", "ERROR"), rows)
        if bad := [one["endpoint"] for one in found if not one["healthy"]]:
            raise Fault(f"unhealthy: {', '.join(bad)}", "unavailable")
        return 0

    return run(work())


def _word(found: dict[str, Any]) -> str:
    return "healthy" if found["healthy"] else "unhealthy"


async def _health(store: "EtcdStore", endpoint: "Endpoint") -> dict[str, Any]:
    """A linearizable read: whoever may not read it was answered, too."""
    from hawser.store import Denied, StoreError
    from hawser.store.etcd import etcd_pb2 as pb
    from hawser.store.etcd import services

    began, error = time.monotonic(), None
    try:
        await store.calls.call(services.RANGE, pb.RangeRequest(key=b"health"), repeatable=True, at=endpoint)
    except Denied:
        pass
    except StoreError as failure:
        error = str(failure)
    took = (time.monotonic() - began) * 1000
    if error is None:
        error = await _alarm(store, endpoint)
    return {"endpoint": str(endpoint), "healthy": error is None, "took": round(took, 3), "error": error}


async def _alarm(store: "EtcdStore", endpoint: "Endpoint") -> str | None:
    """What a member that answers complains of."""
    from hawser.store import StoreError
    from hawser.store.etcd.client import Upkeep

    try:
        errors = (await Upkeep(store.calls).status(endpoint)).errors
    except StoreError:  # who asks may not
        return None
    return "; ".join(error.strip() for error in errors) or None


@click.group(cls=Nouns)
def alarm() -> None:
    """Alarms of members: NOSPACE (larger than its quota) and CORRUPT. They stay until they are disarmed."""


@alarm.command("ls")
@as_json
def ls(json_: bool) -> int:
    """List alarms."""
    return run(_alarms(json_, disarm=False))


@alarm.command()
@as_json
def disarm(json_: bool) -> int:
    """End every alarm and list those that ended; one whose cause is still there is raised again.

    After NOSPACE first: kv compact REV, kv defrag.
    """
    return run(_alarms(json_, disarm=True))


async def _alarms(json_: bool, *, disarm: bool) -> int:
    from hawser.store.etcd.client import Upkeep

    async with open_kv() as store:
        upkeep = Upkeep(store.calls)
        found = await (upkeep.disarm() if disarm else upkeep.alarms())
    documents = [{"member": f"{one.member:x}", "alarm": one.kind.value} for one in found]
    rows = [(f"{one.member:x}", one.kind.upper()) for one in found]
    listing(json_, documents, ("MEMBER", "ALARM"), rows)
    return 0
