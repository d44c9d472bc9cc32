"""`kv watch`: changes as they happen, or a command for each.

A command gets what etcdctl gives (ETCD_WATCH_REVISION, and quoted ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and
ETCD_WATCH_VALUE), the same unquoted as HAWSER_EVENT, HAWSER_KEY and HAWSER_VALUE where the environment can hold them,
and the value on its standard input.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ..common import as_json
from . import words
from .commands import finish, launch
from .group import Launching, command_of
from .keys import hex_option
from .selection import Selection, range_options, select
from .where import open_kv, run

if TYPE_CHECKING:
    from hawser.store import Event, WatchBatch

FITS = 100_000  # bytes of a value that go into the environment; Linux takes 128 KiB a variable


@click.command(cls=Launching)
@range_options
@click.option("--rev", "revision", type=click.IntRange(1), help="From this revision on.")
@click.option("--prev-kv", is_flag=True, help="Also what was there before.")
@click.option("--progress", is_flag=True, help="Also, when nothing happens, up to which revision nothing did.")
@click.option("--every", type=click.FloatRange(0, min_open=True), default=10.0, help="Seconds between those.")
@click.option("--no-put", is_flag=True, help="Without puts.")
@click.option("--no-delete", is_flag=True, help="Without deletes.")
@hex_option
@as_json
def watch(key: str, end: str | None, prefix: bool, from_key: bool, **options: Any) -> int:
    """Print changes as they happen, or run COMMAND for each, until Ctrl-C.

    Of the KEY, of [KEY, END), or of what --prefix or --from-key says. Nothing is lost or repeated when the connection
    breaks or the server restarts. The command is run for one change after the other; when it fails the watch ends with
    its exit code.
    """
    return run(_watch(select(key, end, prefix, from_key), command_of(), options))


async def _watch(chosen: Selection, command: list[str], options: dict[str, Any]) -> int:
    from hawser.store import EventKind

    skips: set[EventKind] = set()
    if options["no_put"]:
        skips.add(EventKind.PUT)
    if options["no_delete"]:
        skips.add(EventKind.DELETE)
    async with (
        open_kv() as store,
        store.watch(
            chosen.key, end=chosen.end, prefix=chosen.prefix, from_revision=options["revision"], skips=skips
        ) as batches,
    ):
        while True:
            batch = await (batches.wait(options["every"]) if options["progress"] else anext(batches))
            code = await _tell(batch, command, options)
            if code:
                return code


async def _tell(batch: "WatchBatch[bytes]", command: list[str], options: dict[str, Any]) -> int:
    if not batch.events:
        words.json_line({"progress": batch.revision}) if options["json_"] else click.echo(f"PROGRESS {batch.revision}")
    for event in batch.events:
        if command:
            process = await launch(command, environment(event), feed=True)
            if code := await finish(process, event.kv.value):
                return code
        elif options["json_"]:
            words.json_line(document(event, prev=options["prev_kv"]))
        else:
            click.echo(line(event, prev=options["prev_kv"], hex_=options["hex_"]))
    return 0


def line(event: "Event[bytes]", *, prev: bool, hex_: bool) -> bytes:
    """`PUT key value`; with `prev`, before it `WAS key value`."""
    show = words.as_hex if hex_ else bytes
    parts = [event.kind.upper().encode(), show(event.kv.key)]
    if event.kv.value:
        parts.append(show(event.kv.value))
    text = b" ".join(parts)
    if prev and event.prev is not None:
        return b" ".join((b"WAS", show(event.prev.key), show(event.prev.value))) + b"\n" + text
    return text


def document(event: "Event[bytes]", *, prev: bool) -> dict[str, Any]:
    """An event in JSON."""
    before = {"prev": event.prev and words.entry(event.prev)} if prev else {}
    return {"kind": str(event.kind)} | words.entry(event.kv) | before


def environment(event: "Event[bytes]") -> Mapping[bytes, bytes]:
    """What a command is told of an event."""
    key, value, kind = event.kv.key, event.kv.value, event.kind.upper()
    told = {
        b"ETCD_WATCH_REVISION": str(event.kv.mod_revision).encode(),
        b"ETCD_WATCH_EVENT_TYPE": quoted(kind.encode()),
        b"ETCD_WATCH_KEY": quoted(key),
        b"HAWSER_EVENT": kind.encode(),
        b"HAWSER_REVISION": str(event.kv.mod_revision).encode(),
    }
    if len(value) <= FITS and len(text := quoted(value)) <= FITS:
        told[b"ETCD_WATCH_VALUE"] = text
    if b"\0" not in key:
        told[b"HAWSER_KEY"] = key
    if b"\0" not in value and len(value) <= FITS:
        told[b"HAWSER_VALUE"] = value
    return {**os.environb, **told}


def quoted(data: bytes) -> bytes:
    """As Go writes a string in double quotes: what can be printed as it is, the rest escaped."""
    plain = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    plain |= {'"': '\\"', "\\": "\\\\"}
    parts = list[str]()
    for letter in data.decode(errors="surrogateescape"):
        code = ord(letter)
        if letter in plain:
            parts.append(plain[letter])
        elif 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        elif letter.isprintable():
            parts.append(letter)
        else:
            parts.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(parts)}"'.encode()
