"""Arguments of verbs as keys, ranges and fences. Pure but for click's words.

Arguments are bytes: what the shell gave, whatever it is.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from ...faults import Fault
from .complete import complete_key

if TYPE_CHECKING:
    from hawser.store import Compare, Op, Result, Store

F = TypeVar("F", bound=Callable[..., Any])
NO_END = b"\0"


class Selection(NamedTuple):
    """One key, [key, end), or with `prefix` those that begin with key, as the store's contract has them."""

    key: bytes
    end: bytes | None
    prefix: bool

    @property
    def single(self) -> bool:
        return self.end is None and not self.prefix


def select(key: str, end: str | None, prefix: bool, from_key: bool) -> Selection:
    """UsageError when more than one of them says where the range ends."""
    if sum((end is not None, prefix, from_key)) > 1:
        raise click.UsageError("give one of END, --prefix and --from-key", click.get_current_context())
    if from_key:
        return Selection(os.fsencode(key), NO_END, False)
    if end is None:
        return Selection(os.fsencode(key), None, prefix)
    # "" is "\0" to etcd's users: no end
    return Selection(os.fsencode(key), os.fsencode(end) or NO_END, False)


def range_options(command: F) -> F:
    """KEY [END] --prefix --from-key."""
    for add in (
        click.argument("end", required=False),
        click.argument("key", shell_complete=complete_key),
        click.option("--from-key", is_flag=True, help="KEY and every key after it."),
        click.option("--prefix", is_flag=True, help="Every key that begins with KEY."),
    ):
        command = add(command)
    return command


class Fence(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """KEY=REVISION of a lock that is held."""

    name = "KEY=REVISION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bytes, int]:
        if isinstance(value, tuple):
            return value
        at = max(value.rfind("="), value.rfind(":"))
        key, revision = value[:at], value[at + 1 :]
        if at < 1 or not revision.isdecimal():
            self.fail(f"{value!r} is no fence; write KEY=REVISION, as kv lock prints them", param, ctx)
        return os.fsencode(key), int(revision)


def fence_option(command: F) -> F:
    """--fence KEY=REVISION, also --if-held."""
    return click.option(
        "--fence",
        "--if-held",
        "fence",
        type=Fence(),
        metavar="KEY=REVISION",
        help="Only while this lock is held; else exit code 4.",
    )(command)


async def fenced(store: "Store[bytes]", fence: tuple[bytes, int] | None, op: "Op[bytes]") -> "Result[bytes]":
    """Apply `op`, while the lock is held in the same transaction. Fault."""
    if fence is None:
        return await store.apply(op)
    done = await store.txn([held(*fence)], [op])
    if not done.succeeded:
        key = os.fsdecode(fence[0])
        wrong = f"the lock {key} of revision {fence[1]} is not held any more: nothing was written; take it again"
        raise Fault(wrong, "conflict")
    return done.results[0]


def held(key: bytes, revision: int) -> "Compare[bytes]":
    """True while the lock is held."""
    from hawser.store import Compare, Target

    return Compare(key, Target.CREATE, "=", revision)
