"""`kv member` and `kv move-leader`: who a cluster is. An id is hex, as etcdctl writes it."""

from typing import TYPE_CHECKING, Any

import click

from ...faults import Fault
from ..common import as_json, listing, show_json
from . import words
from .group import Nouns, Verb
from .where import open_kv, run

if TYPE_CHECKING:
    from hawser.store.etcd.client import Member

member_argument = click.argument("member_id", metavar="ID", type=words.MEMBER)
peer_urls = click.option("--peer-urls", required=True, metavar="URL[,URL...]", help="Where its peers find it.")


@click.group(cls=Nouns)
def member() -> None:
    """Members of the cluster. An id is hex. hawser's own clusters are changed by hawser node, not by hand."""


def document(one: "Member") -> dict[str, Any]:
    """A member in JSON."""
    return {
        "id": f"{one.id:x}",
        "name": one.name,
        "started": bool(one.name),
        "peer_urls": list(one.peer_urls),
        "client_urls": list(one.client_urls),
        "learner": one.learner,
    }


@member.command("ls")
@as_json
def ls(json_: bool) -> int:
    """List members; one that has not started has no name yet."""

    async def work() -> int:
        from hawser.store.etcd.client import Members

        async with open_kv() as store:
            found = await Members(store.calls).list()
        rows = [
            (
                *(f"{one.id:x}", one.name or "-", "started" if one.name else "unstarted"),
                *(",".join(one.peer_urls), ",".join(one.client_urls), "learner" if one.learner else "voter"),
            )
            for one in found
        ]
        columns = ("ID", "NAME", "STATE", "PEER-URLS", "CLIENT-URLS", "ROLE")
        listing(json_, [document(one) for one in found], columns, rows)
        return 0

    return run(work())


@member.command()
@peer_urls
@click.option("--learner", is_flag=True, help="It does not vote until it is promoted.")
@as_json
@click.argument("name")
def add(name: str, peer_urls: str, learner: bool, json_: bool) -> int:
    """Add a member and print what it must be started with."""

    async def work() -> int:
        from hawser.store.etcd.client import Members

        async with open_kv() as store:
            members = Members(store.calls)
            added = await members.add(peer_urls.split(","), learner=learner)
            everyone = await members.list()
        if json_:
            show_json(document(added))
            return 0
        named = [(name if one.id == added.id else one.name, url) for one in everyone for url in one.peer_urls]
        click.echo(f"added member {added.id:x}; start it with:")
        click.echo(f'ETCD_NAME="{name}"')
        click.echo(f'ETCD_INITIAL_CLUSTER="{",".join(f"{who}={url}" for who, url in named if who)}"')
        click.echo(f'ETCD_INITIAL_ADVERTISE_PEER_URLS="{peer_urls}"')
        click.echo('ETCD_INITIAL_CLUSTER_STATE="existing"')
        return 0

    return run(work())


def _change(verb: str, member_id: int, *arguments: Any) -> int:
    async def work() -> int:
        from hawser.store.etcd.client import Members

        async with open_kv() as store:
            await getattr(Members(store.calls), verb)(member_id, *arguments)
        return 0

    return run(work())


@member.command("rm")
@member_argument
def remove(member_id: int) -> int:
    """Remove a member for good: its data is of no use afterwards."""
    return _change("remove", member_id)


@member.command()
@member_argument
def promote(member_id: int) -> int:
    """Let a learner vote, once it has caught up."""
    return _change("promote", member_id)


@member.command()
@peer_urls
@member_argument
def update(member_id: int, peer_urls: str) -> int:
    """Tell where a member's peers find it."""
    return _change("update", member_id, peer_urls.split(","))


@click.command("move-leader", cls=Verb)
@member_argument
def move_leader(member_id: int) -> int:
    """Make the member ID the leader; the leader that is must be among the endpoints."""

    async def work() -> int:
        from hawser.store import Conflict
        from hawser.store.etcd.client import Upkeep

        async with open_kv() as store:
            try:
                await Upkeep(store.calls).move_leader(member_id)
            except Conflict as error:
                wrong = f"{member_id:x} cannot lead ({error}); a voting member can, see: hawser kv member ls"
                raise Fault(wrong, "conflict") from None
        return 0

    return run(work())
