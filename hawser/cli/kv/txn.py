"""`kv txn`: a transaction from standard input."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..common import as_json, show_json
from . import words
from .group import Verb
from .keys import hex_option
from .selection import fence_option, fenced
from .where import check_own, here, open_kv, run

if TYPE_CHECKING:
    from hawser.store import Op, TxnOp
    from hawser.store.kv import Result


@click.command(cls=Verb)
@fence_option
@hex_option
@as_json
def txn(fence: tuple[bytes, int] | None, hex_: bool, json_: bool) -> int:
    """Run a transaction read from standard input.

    \b
    Compares, an empty line, what is done when all of them hold, an empty line, what is done otherwise:
        mod("/k") > "0"
        \b
        put /k "a value"
        get /k --prefix
        \b
        put /k new

    Input that begins with { is the JSON form (docs/kv.md). Prints SUCCESS or FAILURE, which both are exit code 0, and
    what each operation found.
    """
    return run(_txn(_parse(sys.stdin.buffer.read()), fence, hex_, json_))


def _parse(text: bytes) -> "TxnOp[bytes]":
    if text.lstrip().startswith(b"{"):
        from .txnjson import parse as parse_json

        return parse_json(text)
    from .txntext import parse as parse_text

    return parse_text(os.fsdecode(text))


async def _txn(op: "TxnOp[bytes]", fence: tuple[bytes, int] | None, hex_: bool, json_: bool) -> int:
    from hawser.store import TxnResult

    where = here()
    check_own(where, op)
    async with open_kv(where) as store:
        with words.leases_in_hex():
            done = await fenced(store, fence, op)
    assert isinstance(done, TxnResult)
    if json_:
        from .txnjson import result

        show_json(result(op, done))
        return 0
    click.echo("SUCCESS" if done.succeeded else "FAILURE")
    for each, found in zip(op.then if done.succeeded else op.otherwise, done.results, strict=True):
        click.echo()
        show(each, found, hex_)
    return 0


def show(op: "Op[bytes]", found: "Result[bytes]", hex_: bool) -> None:
    """What an operation found, as etcdctl prints it."""
    from hawser.store import DeleteResult, PutOp, PutResult, RangeOp, RangeResult, TxnOp, TxnResult

    if isinstance(found, TxnResult):
        assert isinstance(op, TxnOp)
        click.echo("SUCCESS" if found.succeeded else "FAILURE")
        for each, inner in zip(op.then if found.succeeded else op.otherwise, found.results, strict=True):
            show(each, inner, hex_)
    elif isinstance(found, RangeResult):
        assert isinstance(op, RangeOp)
        if op.count_only:
            click.echo(found.count)
        words.lines(_parts(found.kvs, values=not op.keys_only), hex_)
    elif isinstance(found, DeleteResult):
        click.echo(found.count)
        words.lines(_parts(found.prev), hex_)
    elif isinstance(found, PutResult):
        click.echo("OK")
        words.lines(_parts((found.prev,) if found.prev else ()), hex_)
    else:
        click.echo("OK" if isinstance(op, PutOp) else found)


def _parts(kvs: Sequence[Any], *, values: bool = True) -> list[bytes]:
    return [part for kv in kvs for part in ((kv.key, kv.value) if values else (kv.key,))]
