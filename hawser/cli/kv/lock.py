"""`kv lock` and `kv elect`: be the only one, for as long as a lease is renewed (store/session.py).

Whoever uses the same name with etcdctl takes part. When a command runs while it is held, losing it (the lease ended, or
somebody deleted the key) ends the command. A lock is advice, so what the command writes should be fenced: `kv put
--fence "$HAWSER_FENCE"`.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from ...faults import Fault
from ..common import as_json
from . import words
from .commands import GRACE, code_of, launch, send, stop
from .group import Launching, command_of
from .where import Where, here, open_kv, run

if TYPE_CHECKING:
    from hawser.store import KeyValue
    from hawser.store.session import Election, Held, Session

LOCK_TTL, ELECT_TTL = 10.0, 60.0
LEAST_WAIT, AGAIN = 1.0, 0.5


@click.command(cls=Launching)
@click.option("--ttl", type=click.FloatRange(0, min_open=True), default=LOCK_TTL, show_default=True, help="Seconds.")
@click.option("--wait", type=click.FloatRange(0), help="Give up after so many seconds (at least 1): exit code 4.")
@click.option("--grace", type=click.FloatRange(0), default=GRACE, help="Seconds from SIGTERM to SIGKILL.")
@as_json
@click.argument("name")
def lock(name: str, ttl: float, wait: float | None, grace: float, json_: bool) -> int:
    """Hold the lock NAME, or hold it while COMMAND runs.

    Without a command its key is printed, and it is held until Ctrl-C. The exit code is the command's; a lock that is
    lost ends the command, with exit code 5. The command finds the fence for its writes in HAWSER_FENCE, the key and the
    revision in HAWSER_LOCK_KEY and HAWSER_LOCK_REVISION (ETCD_LOCK_KEY and ETCD_LOCK_REV as etcdctl has it).
    """
    return run(_hold(f"the lock {name}", name, None, ttl, wait, grace, json_))


@click.command(cls=Launching)
@click.option("--ttl", type=click.FloatRange(0, min_open=True), default=ELECT_TTL, show_default=True, help="Seconds.")
@click.option("--wait", type=click.FloatRange(0), help="Give up after so many seconds (at least 1): exit code 4.")
@click.option("--grace", type=click.FloatRange(0), default=GRACE, help="Seconds from SIGTERM to SIGKILL.")
@click.option("--listen", "-l", is_flag=True, help="Print each leader's key and value, until Ctrl-C.")
@as_json
@click.argument("name")
@click.argument("value", required=False)
def elect(name: str, value: str | None, ttl: float, wait: float | None, grace: float, listen: bool, json_: bool) -> int:
    """Be elected NAME's leader with VALUE, or listen to who is.

    When elected the key and the value are printed, and it leads until Ctrl-C, or while COMMAND runs, as with kv lock.
    """
    if listen:
        if value is not None or command_of():
            raise click.UsageError("--listen takes a name only", click.get_current_context())
        return run(_listen(name, json_))
    if value is None:
        raise click.UsageError("missing argument 'VALUE'", click.get_current_context())
    return run(_hold(f"the election {name}", name, os.fsencode(value), ttl, wait, grace, json_))


async def _hold(
    what: str, name: str, value: bytes | None, ttl: float, wait: float | None, grace: float, json_: bool
) -> int:
    from hawser.store import TextStore
    from hawser.store.session import Election, open_session

    command, where = command_of(), here()
    async with open_kv(where) as raw:
        store = TextStore(raw)
        async with open_session(store, ttl) as session:
            election = Election(store, name)
            try:
                async with asyncio.timeout(None if wait is None else max(wait, LEAST_WAIT)):
                    held = await election.campaign(session, value or b"")
            except TimeoutError:
                leader = await election.leader()
                holder = f"held by {leader.key}" if leader else "nobody's now"
                raise Fault(f"{what} was not had in time ({holder}); try again", "conflict") from None
            try:
                async with _watched(election, session, held) as lost:
                    if command:
                        return await _run(what, command, _environment(where, held), lost, grace)
                    _say(held, session, value, json_)
                    await lost.wait()
                    raise Fault(
                        f"{what} was lost: its lease ended or its key was deleted; take it again", "unavailable"
                    )
            finally:
                if not session.lost.is_set():
                    await _resign(election, held)


async def _resign(election: "Election", held: "Held") -> None:
    """Let the next one have it at once; the lease's end would do it too."""
    from hawser.store import StoreError

    try:
        async with asyncio.timeout(LEAST_WAIT):
            await election.resign(held)
    except (StoreError, TimeoutError):
        return


@asynccontextmanager
async def _watched(election: "Election", session: "Session", held: "Held") -> AsyncIterator[asyncio.Event]:
    """An event that is set once the lock is lost."""
    from hawser.store import StoreError
    from hawser.store.background import background

    lost = asyncio.Event()

    async def lease() -> None:
        await session.lost.wait()
        lost.set()

    async def key() -> None:
        while not lost.is_set():
            try:
                await election.lost(held)
                lost.set()
            except StoreError:  # whatever happens to the store, the lease decides
                await asyncio.sleep(AGAIN)

    async with background(lease(), key()):
        yield lost


async def _run(what: str, command: list[str], environment: dict[str, str], lost: asyncio.Event, grace: float) -> int:
    """Run a command while it is held."""
    process = await launch(command, environment, dies_too=True)
    try:
        _forward_signals(process)
        async with asyncio.TaskGroup() as tasks:
            ended, gone = tasks.create_task(process.wait()), tasks.create_task(lost.wait())
            await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
            stopped = not ended.done()
            if stopped:
                await stop(process, grace)
            gone.cancel()
    except BaseException:
        await stop(process, grace)
        raise
    if stopped:
        raise Fault(f"{what} was lost: its lease ended or its key was deleted; the command was stopped", "unavailable")
    return code_of(process)


def _forward_signals(process: Process) -> None:
    """From now on SIGINT, SIGTERM and SIGHUP are the command's: it decides when it ends. What a terminal sends it has
    got already."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number is signal.SIGINT and sys.stdin.isatty():
            loop.add_signal_handler(number, bool)  # nothing
        else:
            loop.add_signal_handler(number, send, process, number)


def _environment(where: Where, held: "Held") -> dict[str, str]:
    revision = str(held.revision)
    return {
        **os.environ,
        **where.environment,
        "HAWSER_FENCE": f"{held.key}={revision}",
        "HAWSER_LOCK_KEY": held.key,
        "HAWSER_LOCK_REVISION": revision,
        "ETCD_LOCK_KEY": held.key,
        "ETCD_LOCK_REV": revision,
    }


def _say(held: "Held", session: "Session", value: bytes | None, json_: bool) -> None:
    key = os.fsencode(held.key)
    if json_:
        told = {"key": words.document(key), "revision": held.revision, "lease": words.lease_id(session.lease)}
        words.json_line(told | ({} if value is None else {"value": words.document(value)}))
    else:
        words.lines((key,) if value is None else (key, value))


async def _listen(name: str, json_: bool) -> int:
    from hawser.store import TextStore
    from hawser.store.session import Election

    async with open_kv() as raw:
        async for leader in Election(TextStore(raw), name).observe():
            _say_leader(leader, json_)
    return 0


def _say_leader(leader: "KeyValue", json_: bool) -> None:
    key = os.fsencode(leader.key)
    if json_:
        words.json_line(
            {
                "key": words.document(key),
                "value": words.document(leader.value),
                "revision": leader.create_revision,
                "lease": words.lease_id(leader.lease),
            }
        )
    else:
        words.lines((key, leader.value))
