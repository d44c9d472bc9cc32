"""`kv migrate`: everything from one store to another.

Between two stores that are named this is done here (store/migrate.py). Without `--from` it is the running node's
store that moves, or moves back (`--to sqlite`); the node does that, for it must stop writing at the right moment.
"""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...faults import Fault
from ..common import as_json, client, show_json
from .group import META, Verb
from .progress import Bar
from .where import Where, here, open_kv, run, split

if TYPE_CHECKING:
    from hawser.store import Store
    from hawser.store.digest import Digest
    from hawser.store.migrate import Progress

SQLITE = "sqlite:"
OWN = "sqlite"  # the running node's
LONG = 60.0


@click.command(cls=Verb)
@click.option("--from", "source", metavar="URL", help="Without it the running node's own store.")
@click.option("--to", "target", metavar="URL", required=True)
@click.option("--overwrite", is_flag=True, help="Delete what the target has and the source has not.")
@as_json
def migrate(source: str | None, target: str, overwrite: bool, json_: bool) -> int:
    """Move every key and lease to another store, verified by count and hash.

    A URL is sqlite:DIR (a store that nobody has open), etcd://HOST:PORT,..., etcds://..., http(s)://HOST:PORT or
    unix:PATH; sqlite alone is the running node's own store. The certificates and the user of --cacert, --cert, --key
    and --user are for whichever end is not a directory. Keys, values and leases with their ids move; revisions and
    versions begin anew. The source stays as it is; what writes to it must have stopped, or the stores differ and that
    is said. An interrupted move is begun again.
    """
    if source in (None, OWN) or target == OWN:
        return _node(target, overwrite, json_)
    assert source is not None
    if source == target:
        raise Fault("a store cannot move to where it is; give another --to", "usage")
    return run(_migrate(source, target, overwrite, json_))


async def _migrate(source: str, target: str, overwrite: bool, json_: bool) -> int:
    from hawser.store.migrate import Migration

    bar = Bar()

    def report(progress: "Progress") -> None:
        bar.show(progress.phase, progress.done, progress.total)

    async with _opened(source, new=False) as old, _opened(target, new=True) as new:
        migration = Migration(old, new, report)
        try:
            await migration.copy(overwrite=overwrite)
            await migration.follow()
            digest = await migration.verify()
        finally:
            bar.end()
    return _say(digest, target, json_)


def _say(digest: "Digest", target: str, json_: bool) -> int:
    if json_:
        show_json({"moved": digest.count, "sha256": digest.sha256})
    else:
        click.echo(f"moved {digest.count} keys to {target}, verified: sha256 {digest.sha256}")
    return 0


@asynccontextmanager
async def _opened(url: str, *, new: bool) -> "AsyncIterator[Store[bytes]]":
    """A store by its URL; `new`: a directory that is not there is made."""
    if not url.startswith(SQLITE):
        where = _where(url)
        async with open_kv(where) as store:  # who does not answer is not waited for long
            await store.get(b"\0")
        async with open_kv(where, timeout=LONG) as store:
            yield store
        return
    from hawser.store.embedded.drivers.sqlite import SqliteEngine

    engine = await SqliteEngine.open(_directory(url, new=new))
    try:
        yield engine
    finally:
        await engine.close()


def _directory(url: str, *, new: bool) -> Path:
    from hawser.store.embedded.drivers.schema import NAME

    directory = Path(url.removeprefix(SQLITE).removeprefix("//"))
    if not new and not (directory / NAME).exists():
        raise Fault(f"{directory} is no directory with a store; give the one that has it", "not-found")
    return directory


def _where(url: str) -> Where:
    """The endpoints of a URL, with the certificates and the user that the command line names."""
    given: dict[str, Any] = click.get_current_context().meta.setdefault(META, {})
    with _endpoints(given, url):
        return here()


@contextlib.contextmanager
def _endpoints(given: dict[str, Any], url: str) -> Any:
    before = given.get("endpoints")
    given["endpoints"] = ",".join(split(url))
    try:
        yield
    finally:
        if before is None:
            del given["endpoints"]
        else:
            given["endpoints"] = before


def _node(target: str, overwrite: bool, json_: bool) -> int:
    """Ask the node; it tells how far it is, a line each, and in the end what was moved."""
    body: dict[str, Any] = {"endpoints": [], "overwrite": overwrite}
    if target.startswith(SQLITE):
        raise Fault(f"a node's own store is in its data directory; say --to {OWN}, or name a --from", "usage")
    if target != OWN:
        where = _where(target)
        files = {"cacert": where.cacert, "cert": where.cert, "key": where.key}
        body |= {name: str(Path(path).absolute()) for name, path in files.items() if path}
        body |= {"endpoints": list(where.endpoints), "user": where.user, "password": where.password}
    bar, moved = Bar(), None
    try:
        for line in client().lines("POST", "/v1/store/migrate", body):
            if "phase" in line:
                bar.show(line["phase"], line["done"], line["total"])
            else:
                moved = line
    finally:
        bar.end()
    if moved is None:
        raise Fault("the node did not say what was moved; see its log")
    if json_:
        show_json(moved)
    else:
        click.echo(f"moved {moved['moved']} keys to {target}, verified: sha256 {moved['sha256']}")
    return 0
