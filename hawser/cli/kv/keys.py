"""`kv get`, `kv put`, `kv del`."""

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from ...faults import Fault
from ..common import as_json, show_json
from . import words
from .complete import complete_key
from .group import Verb
from .selection import Selection, fence_option, fenced, range_options, select
from .where import check_own, here, open_kv, run

if TYPE_CHECKING:
    from hawser.store import KeyValue, PutOp, RangeOp, RangeResult
    from hawser.store.etcd.client import EtcdStore

SHOWN = 200
SORTS = ("key", "version", "create", "modify", "mod", "value")
hex_option = click.option("--hex", "hex_", is_flag=True, help="Write bytes as \\x61.")


def missing(key: bytes) -> Fault:
    """What a verb says of a single key that is not there."""
    shown = os.fsdecode(key[:SHOWN]) + ("…" if len(key) > SHOWN else "")
    return Fault(f"no key {shown}; see: hawser kv get --prefix --keys-only ''", "not-found")


@click.command(cls=Verb)
@range_options
@click.option("--limit", type=click.IntRange(0), default=0, help="At most so many keys.")
@click.option("--rev", "revision", type=click.IntRange(0), default=0, help="As it was at this revision.")
@click.option("--sort-by", type=click.Choice(SORTS, case_sensitive=False))
@click.option("--order", type=click.Choice(["ascend", "descend"], case_sensitive=False))
@click.option("--keys-only", is_flag=True)
@click.option("--values-only", "--print-value-only", is_flag=True)
@click.option("--count-only", is_flag=True, help="Print how many there are.")
@click.option("--min-mod-rev", type=click.IntRange(0), default=0)
@click.option("--max-mod-rev", type=click.IntRange(0), default=0)
@click.option("--min-create-rev", type=click.IntRange(0), default=0)
@click.option("--max-create-rev", type=click.IntRange(0), default=0)
@click.option("--serializable", is_flag=True, help="From the member that is asked, which may be behind.")
@hex_option
@as_json
def get(key: str, end: str | None, prefix: bool, from_key: bool, **options: Any) -> int:
    """Print the value of KEY, or the keys and values of a range.

    The range is [KEY, END), or what --prefix or --from-key says. The value of a single key is printed alone, of a range
    each key is a line and its value the next.
    """
    from hawser.store import RangeOp, SortBy

    chosen = select(key, end, prefix, from_key)
    if options["keys_only"] + options["values_only"] + options["count_only"] > 1:
        raise click.UsageError("give one of --keys-only, --values-only and --count-only", click.get_current_context())
    sort = options["sort_by"]
    op: RangeOp[bytes] = RangeOp(
        *chosen,
        limit=options["limit"],
        revision=options["revision"],
        keys_only=options["keys_only"],
        count_only=options["count_only"],
        sort=SortBy({"modify": "mod"}.get(sort, sort)) if sort else None,
        descending=options["order"] == "descend",
        min_mod=options["min_mod_rev"],
        max_mod=options["max_mod_rev"],
        min_create=options["min_create_rev"],
        max_create=options["max_create_rev"],
    )
    return run(_get(op, chosen, options))


async def _get(op: "RangeOp[bytes]", chosen: Selection, options: dict[str, Any]) -> int:
    async with open_kv() as store:
        found = await _read(store, op, serializable=options["serializable"])
    if options["json_"]:
        show_json(found_document(found, values=not options["keys_only"]))
    elif options["count_only"]:
        click.echo(found.count)
    elif chosen.single and not found.kvs:
        raise missing(chosen.key)
    else:
        keys = not options["values_only"] and (options["keys_only"] or not chosen.single)
        words.lines(_parts(found.kvs, keys=keys, values=not options["keys_only"]), options["hex_"])
    return 0


async def _read(store: "EtcdStore", op: "RangeOp[bytes]", *, serializable: bool) -> "RangeResult[bytes]":
    if not serializable:
        return await store.read(op)
    from hawser.store.etcd import services
    from hawser.store.etcd.client.codec import range_request, range_result

    request = range_request(op)
    request.serializable = True
    return range_result(await store.calls.call(services.RANGE, request, repeatable=True))


def found_document(found: "RangeResult[bytes]", *, values: bool = True) -> dict[str, Any]:
    """A range in JSON."""
    return {
        "revision": found.revision,
        "count": found.count,
        "more": found.more,
        "kvs": [words.entry(kv, value=values) for kv in found.kvs],
    }


def _parts(kvs: "tuple[KeyValue[bytes], ...]", *, keys: bool = True, values: bool = True) -> list[bytes]:
    return [part for kv in kvs for part, wanted in ((kv.key, keys), (kv.value, values)) if wanted]


@click.command(cls=Verb)
@click.option("--lease", type=words.LEASE, default=0, help="Delete the key when this lease ends.")
@click.option("--prev-kv", is_flag=True, help="Print what was there before, too.")
@click.option("--ignore-value", is_flag=True, help="Keep the value of a key that is there.")
@click.option("--ignore-lease", is_flag=True, help="Keep the lease of a key that is there.")
@fence_option
@hex_option
@as_json
@click.argument("key", shell_complete=complete_key)
@click.argument("value", required=False)
def put(key: str, value: str | None, **options: Any) -> int:
    """Set KEY to VALUE (without VALUE: standard input) and print the revision."""
    from hawser.store import PutOp

    if value is not None:
        data = os.fsencode(value)
    else:
        data = b"" if options["ignore_value"] else sys.stdin.buffer.read()
    prev, keep, same = options["prev_kv"], options["ignore_value"], options["ignore_lease"]
    return run(_put(PutOp(os.fsencode(key), data, options["lease"], prev, keep, same), options))


async def _put(op: "PutOp[bytes]", options: dict[str, Any]) -> int:
    from hawser.store import PutResult

    where = here()
    check_own(where, op)
    async with open_kv(where) as store:
        with words.leases_in_hex():
            made = await fenced(store, options["fence"], op)
    prev = made.prev if isinstance(made, PutResult) else None
    revision = made.revision if isinstance(made, PutResult) else made
    if options["json_"]:
        show_json({"revision": revision} | ({"prev": prev and words.entry(prev)} if op.prev_kv else {}))
        return 0
    click.echo(revision)
    words.lines(_parts((prev,) if prev else ()), options["hex_"])
    return 0


@click.command("del", cls=Verb)
@range_options
@click.option("--range", "until", metavar="END", help="KEY and the keys after it, up to END.")
@click.option("--prev-kv", is_flag=True, help="Print what was deleted, too.")
@fence_option
@hex_option
@as_json
def delete(key: str, end: str | None, prefix: bool, from_key: bool, until: str | None, **options: Any) -> int:
    """Delete KEY, or a range of keys, and print how many went.

    The range is [KEY, END), or what --prefix or --from-key says. That a single key is not there is exit code 3.
    """
    if end is not None and until is not None:
        raise click.UsageError("END is given twice", click.get_current_context())
    return run(_delete(select(key, end if until is None else until, prefix, from_key), options))


async def _delete(chosen: Selection, options: dict[str, Any]) -> int:
    from hawser.store import DeleteOp, DeleteResult

    op = DeleteOp(*chosen, prev_kv=options["prev_kv"])
    where = here()
    check_own(where, op)
    async with open_kv(where) as store:
        gone = await fenced(store, options["fence"], op)
    prev = gone.prev if isinstance(gone, DeleteResult) else ()
    count = gone.count if isinstance(gone, DeleteResult) else gone
    if options["json_"]:
        deleted = {"deleted": count} | ({"prev": [words.entry(kv) for kv in prev]} if op.prev_kv else {})
        show_json(deleted)
    else:
        click.echo(count)
        words.lines(_parts(prev), options["hex_"])
    if chosen.single and not count:
        raise missing(chosen.key)
    return 0
