"""`kv lease`: grant, keep-alive, revoke, show, ls. A lease's id is hex, as etcdctl writes it."""

import asyncio
import os

import click

from ..common import as_json, listing, show_json
from . import words
from .group import Nouns
from .where import open_kv, run

RENEWALS = 3
lease_argument = click.argument("lease_id", metavar="ID", type=words.LEASE)


@click.group(cls=Nouns)
def lease() -> None:
    """Leases: keys that die with their owner. An id is hex."""


@lease.command()
@click.option("--id", "lease_id", type=words.LEASE, default=0, help="The id it shall have.")
@as_json
@click.argument("ttl", type=click.FloatRange(0, min_open=True))
def grant(ttl: float, lease_id: int, json_: bool) -> int:
    """Grant a lease of TTL seconds and print its id."""

    async def work() -> int:
        async with open_kv() as store:
            with words.leases_in_hex():
                granted = await store.lease_grant(ttl, id=lease_id)
        if json_:
            show_json({"id": words.lease_id(granted.id), "ttl": granted.ttl})
        else:
            click.echo(words.lease_id(granted.id))
        return 0

    return run(work())


@lease.command("keep-alive")
@click.option("--once", is_flag=True, help="Renew it once.")
@as_json
@lease_argument
def keep_alive(lease_id: int, once: bool, json_: bool) -> int:
    """Renew a lease again and again, until Ctrl-C, and print its TTL each time."""

    async def work() -> int:
        async with open_kv() as store:
            while True:
                with words.leases_in_hex():
                    renewed = await store.lease_keepalive(lease_id)
                if json_:
                    show_json({"id": words.lease_id(lease_id), "ttl": renewed.ttl})
                else:
                    click.echo(f"{renewed.ttl:g}")
                if once:
                    return 0
                await asyncio.sleep(renewed.ttl / RENEWALS)

    return run(work())


@lease.command()
@lease_argument
def revoke(lease_id: int) -> int:
    """End a lease and delete its keys."""

    async def work() -> int:
        async with open_kv() as store:
            with words.leases_in_hex():
                await store.lease_revoke(lease_id)
        return 0

    return run(work())


@lease.command()
@click.option("--keys", is_flag=True, help="Print the keys it holds.")
@as_json
@lease_argument
def show(lease_id: int, keys: bool, json_: bool) -> int:
    """How long a lease was granted for, how long it has, and how many keys it holds."""

    async def work() -> int:
        async with open_kv() as store:
            with words.leases_in_hex():
                status = await store.lease_time_to_live(lease_id)
        if json_:
            held = [words.document(key) for key in status.keys]
            known = {"id": words.lease_id(lease_id), "granted": status.granted, "remaining": status.remaining}
            show_json(known | {"keys": held})
            return 0
        click.echo(f"granted {status.granted:g} s, remaining {status.remaining:g} s, keys {len(status.keys)}")
        if keys:
            words.lines(status.keys)
        return 0

    return run(work())


@lease.command("ls")
@as_json
def ls(json_: bool) -> int:
    """List leases: id, seconds granted and remaining, keys."""

    async def work() -> int:
        from hawser.store import LeaseNotFound

        found = []
        async with open_kv() as store:
            for each in await store.leases():
                try:
                    found.append(await store.lease_time_to_live(each))
                except LeaseNotFound:  # meanwhile
                    continue
        documents = [
            {
                "id": words.lease_id(status.id),
                "granted": status.granted,
                "remaining": status.remaining,
                "keys": [words.document(key) for key in status.keys],
            }
            for status in found
        ]
        rows = [(words.lease_id(s.id), f"{s.granted:g}", f"{s.remaining:g}", _some(s.keys)) for s in found]
        listing(json_, documents, ("ID", "GRANTED", "REMAINING", "KEYS"), rows)
        return 0

    return run(work())


def _some(keys: tuple[bytes, ...]) -> str:
    """The first few."""
    shown = " ".join(ascii(os.fsdecode(key))[1:-1] for key in keys[:3])
    return f"{shown} and {len(keys) - 3} more" if len(keys) > 3 else shown
