"""`hawser kv`: the store by hand."""

import base64
import sys

import click

from ..faults import Fault
from .common import as_json, client, show_json


@click.group()
def kv() -> None:
    """The key-value store. Keys under /hawser/ are the node's own."""


def _text(value: str) -> str:
    return base64.b64decode(value).decode(errors="replace")


def _missing(key: str) -> int:
    fault = Fault(f"no key {key}; see: hawser kv get --prefix --keys-only ''", "not-found")
    click.echo(f"hawser: {fault}", err=True)
    return fault.exit_code


@kv.command()
@click.option("--prefix", is_flag=True, help="Every key that begins with KEY.")
@click.option("--keys-only", is_flag=True)
@as_json
@click.argument("key")
def get(key: str, prefix: bool, keys_only: bool, json_: bool) -> int:
    """Print the value of KEY (with --prefix: keys and values)."""
    answer = client().get("/v1/kv", key=key, prefix=int(prefix))
    if json_:
        show_json(answer)
        return 0
    for entry in answer["kvs"]:
        if prefix or keys_only:
            click.echo(entry["key"])
        if not keys_only:
            click.echo(_text(entry["value"]))
    return 0 if answer["kvs"] or prefix else _missing(key)


@kv.command()
@click.option("--lease", type=int, default=0, help="Delete the key when this lease ends.")
@click.argument("key")
@click.argument("value", required=False)
def put(key: str, value: str | None, lease: int) -> None:
    """Set KEY to VALUE (without VALUE: standard input) and print the revision."""
    data = sys.stdin.buffer.read() if value is None else value.encode()
    body = {"key": key, "value": base64.b64encode(data).decode(), "lease": lease}
    click.echo(client().put("/v1/kv", body)["revision"])


@kv.command("del")
@click.option("--prefix", is_flag=True, help="Every key that begins with KEY.")
@click.argument("key")
def delete(key: str, prefix: bool) -> int:
    """Delete KEY and print how many keys went."""
    deleted = client().delete("/v1/kv", key=key, prefix=int(prefix))["deleted"]
    click.echo(deleted)
    return 0 if deleted or prefix else _missing(key)


@kv.command()
@click.option("--prefix", is_flag=True, help="Every key that begins with KEY.")
@click.option("--rev", "revision", type=click.IntRange(1), help="From this revision on.")
@as_json
@click.argument("key")
def watch(key: str, prefix: bool, revision: int | None, json_: bool) -> None:
    """Print changes of KEY as they happen."""
    for event in client().lines("GET", "/v1/kv/watch", key=key, prefix=int(prefix), revision=revision):
        if json_:
            show_json(event)
            continue
        click.echo(f"{event['kind'].upper()} {event['key']} {_text(event['value'])}".rstrip())


@kv.group()
def lease() -> None:
    """Leases: keys that die with their owner."""


@lease.command()
@click.argument("ttl", type=click.FloatRange(0.1))
def grant(ttl: float) -> None:
    """Grant a lease of TTL seconds and print its id."""
    click.echo(client().post("/v1/kv/leases", {"ttl": ttl})["id"])


@lease.command("keep-alive")
@click.argument("lease_id", type=int)
def keep_alive(lease_id: int) -> None:
    """Renew a lease once."""
    click.echo(client().post(f"/v1/kv/leases/{lease_id}")["ttl"])


@lease.command()
@click.argument("lease_id", type=int)
def revoke(lease_id: int) -> None:
    """End a lease and delete its keys."""
    client().delete(f"/v1/kv/leases/{lease_id}")
