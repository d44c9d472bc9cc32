"""`kv user`, `kv role`, `kv auth`: who may do what."""

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from ...faults import Fault
from ..common import as_json, listing, show_json
from . import words
from .group import Nouns
from .selection import range_options, select
from .where import check_shared, here, open_kv, run

if TYPE_CHECKING:
    from hawser.store.auth import Permission

ROOT = "root"
RIGHTS = ("read", "write", "readwrite")


def _call(part: str, verb: str, *arguments: Any) -> int:
    """One change by one of the client's parts."""

    async def work() -> int:
        from hawser.store.etcd import client

        async with open_kv() as store:
            await getattr(getattr(client, part)(store.calls), verb)(*arguments)
        return 0

    return run(work())


def _names(part: str, verb: str, column: str, json_: bool, *arguments: str) -> int:
    """A listing of names."""

    async def work() -> int:
        from hawser.store.etcd import client

        async with open_kv() as store:
            found = await getattr(getattr(client, part)(store.calls), verb)(*arguments)
        listing(json_, list(found), (column,), [(name,) for name in found])
        return 0

    return run(work())


def _new_password(name: str) -> str:
    """Asked for twice at a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        password = click.prompt(f"New password of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return str(password)
    if password := sys.stdin.readline().rstrip("\n"):
        return password
    raise Fault(f"no password for {name}; write it to standard input, or say --no-password", "usage")


@click.group(cls=Nouns)
def user() -> None:
    """Users; what they may do is what their roles may."""


@user.command()
@click.option("--no-password", is_flag=True, help="Only who has a certificate for this name.")
@click.argument("name", metavar="NAME[:PASSWORD]")
def add(name: str, no_password: bool) -> int:
    """Add a user; without PASSWORD it is asked for, or read from standard input."""
    name, colon, password = name.partition(":")
    if no_password and colon:
        raise click.UsageError("give a password or --no-password", click.get_current_context())
    return _call("Users", "add", name, None if no_password else password if colon else _new_password(name))


@user.command("rm")
@click.argument("name")
def rm_user(name: str) -> int:
    """Remove a user."""
    return _call("Users", "delete", name)


@user.command("ls")
@as_json
def ls_users(json_: bool) -> int:
    """List users."""
    return _names("Users", "list", "USER", json_)


@user.command("show")
@as_json
@click.argument("name")
def show_user(name: str, json_: bool) -> int:
    """The roles of a user."""
    return _names("Users", "roles", "ROLE", json_, name)


@user.command()
@click.argument("name", metavar="NAME[:PASSWORD]")
def passwd(name: str) -> int:
    """Change a password; it is asked for, or read from standard input."""
    name, colon, password = name.partition(":")
    return _call("Users", "change_password", name, password if colon else _new_password(name))


@user.command("grant")
@click.argument("name")
@click.argument("role")
def grant_role(name: str, role: str) -> int:
    """Give a user a role."""
    return _call("Users", "grant", name, role)


@user.command("revoke")
@click.argument("name")
@click.argument("role")
def revoke_role(name: str, role: str) -> int:
    """Take a role from a user."""
    return _call("Users", "revoke", name, role)


@click.group(cls=Nouns)
def role() -> None:
    """Roles: permissions on keys and ranges of keys."""


@role.command("add")
@click.argument("name")
def add_role(name: str) -> int:
    """Add a role without permissions."""
    return _call("Roles", "add", name)


@role.command("rm")
@click.argument("name")
def rm_role(name: str) -> int:
    """Remove a role."""
    return _call("Roles", "delete", name)


@role.command("ls")
@as_json
def ls_roles(json_: bool) -> int:
    """List roles."""
    return _names("Roles", "list", "ROLE", json_)


@role.command("show")
@as_json
@click.argument("name")
def show_role(name: str, json_: bool) -> int:
    """The permissions of a role."""

    async def work() -> int:
        from hawser.store.etcd.client import Roles

        async with open_kv() as store:
            found = await Roles(store.calls).permissions(name)
        documents = [
            {
                "right": _right(each),
                "key": words.document(each.key),
                "end": words.document(each.end) if each.end else None,
            }
            for each in found
        ]
        rows = [(_right(each), ascii(os.fsdecode(each.key))[1:-1], _extent(each)) for each in found]
        listing(json_, documents, ("RIGHT", "KEY", "EXTENT"), rows)
        return 0

    return run(work())


def _right(permission: "Permission") -> str:
    return permission.right.name.lower()


def _extent(permission: "Permission") -> str:
    """What of a range a person wants to read."""
    from hawser.store.embedded.keyspace import upper_bound

    end = permission.end
    if not end:
        return "this key"
    if end == b"\0":
        return "and every key after it"
    if end == upper_bound(permission.key):
        return "and every key that begins so"
    return f"up to {ascii(os.fsdecode(end))[1:-1]}"


def _span(key: str, end: str | None, prefix: bool, from_key: bool) -> tuple[bytes, bytes]:
    """etcd's key and range end."""
    from hawser.store.etcd.client.codec import interval

    return interval(*select(key, end, prefix, from_key))


@role.command("grant")
@click.argument("name", metavar="ROLE")
@click.argument("right", type=click.Choice(RIGHTS, case_sensitive=False))
@range_options
def grant_permission(name: str, right: str, key: str, end: str | None, prefix: bool, from_key: bool) -> int:
    """Let a role read or write KEY, or a range of keys."""
    from hawser.store.auth import Permission, Right

    return _call("Roles", "grant", name, Permission(Right[right.upper()], *_span(key, end, prefix, from_key)))


@role.command("revoke")
@click.argument("name", metavar="ROLE")
@range_options
def revoke_permission(name: str, key: str, end: str | None, prefix: bool, from_key: bool) -> int:
    """Take a permission back: the same range that was granted."""
    return _call("Roles", "revoke", name, *_span(key, end, prefix, from_key))


@click.group(cls=Nouns)
def auth() -> None:
    """Whether users and roles are asked for."""


@auth.command("on")
def on() -> int:
    """Ask everybody who they are from now on. The user root must be there; it gets the role root.

    Of a store that the machines of a cluster share only with --endpoints: it shuts out every machine that is no user.
    """

    async def work() -> int:
        from hawser.store import Conflict
        from hawser.store.etcd.client import Auth, Roles, Users

        where = here()
        check_shared(where)
        async with open_kv(where) as store:
            switch, users, roles = Auth(store.calls), Users(store.calls), Roles(store.calls)
            try:
                await switch.enable()
            except Conflict:
                if ROOT not in await users.list():
                    raise Fault("the user root does not exist; add it: hawser kv user add root", "conflict") from None
                if ROOT not in await roles.list():
                    await roles.add(ROOT)
                await users.grant(ROOT, ROOT)
                await switch.enable()
        return 0

    return run(work())


@auth.command("off")
def off() -> int:
    """Ask nobody any more."""
    return _call("Auth", "disable")


@auth.command("status")
@as_json
def status(json_: bool) -> int:
    """Whether everybody is asked, and the revision of users and roles. An etcd before 3.5 does not tell the latter."""

    async def work() -> int:
        enabled, revision = await _status()
        if json_:
            show_json({"enabled": enabled, "revision": revision})
        else:
            click.echo("on" if enabled else "off")
        return 0

    return run(work())


async def _status() -> tuple[bool, int | None]:
    """What the server says, or what follows from what it refuses."""
    from hawser.store import Conflict, Denied, Invalid
    from hawser.store.etcd import etcd_pb2 as pb
    from hawser.store.etcd import services
    from hawser.store.etcd.client import Auth

    async with open_kv() as store:
        try:
            told = await Auth(store.calls).status()
        except Denied:  # whoever is refused was asked
            return True, None
        except Invalid:  # etcd 3.4 knows no such call, but it logs nobody in while it asks nobody
            request = pb.AuthenticateRequest(name=ROOT, password="")
            try:
                await store.calls.call(services.AUTHENTICATE, request, repeatable=True)
            except Conflict:
                return False, None
            except Denied:
                return True, None
            return True, None
    return told.enabled, told.revision
