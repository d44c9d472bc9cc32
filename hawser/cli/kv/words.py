"""How keys, values and ids are written. Pure.

As text a value is its bytes and a newline, or with `--hex` `\\x61` for each byte. As JSON it is a string when it is
UTF-8, else {"base64": "..."}. The id of a lease or member is hex, as etcdctl writes it.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hawser.store import KeyValue


def as_hex(data: bytes) -> bytes:
    """`\\x61\\x62`."""
    return "".join(f"\\x{byte:02x}" for byte in data).encode()


def document(data: bytes) -> str | dict[str, str]:
    """Bytes in JSON."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def lease_id(lease: int) -> str | None:
    """A lease's id in JSON; null is none."""
    return f"{lease:016x}" if lease else None


def entry(kv: "KeyValue[bytes]", *, value: bool = True) -> dict[str, Any]:
    """A key in JSON."""
    return {
        "key": document(kv.key),
        **({"value": document(kv.value)} if value else {}),
        "create_revision": kv.create_revision,
        "mod_revision": kv.mod_revision,
        "version": kv.version,
        "lease": lease_id(kv.lease),
    }


def lines(parts: Iterable[bytes], hex_: bool = False) -> None:
    """Print each on a line of its own."""
    if found := list(map(as_hex, parts) if hex_ else parts):
        click.echo(b"\n".join(found))


def json_line(found: object) -> None:
    """Print one of many documents: a line each."""
    click.echo(json.dumps(found))


class Id(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """A lease's or member's id: hex, with or without 0x."""

    name = "ID"

    def __init__(self, most: int = 2**64 - 1) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            number = int(value, 16)
        except ValueError:
            self.fail(f"{value!r} is no id; an id is hex, as it was printed", param, ctx)
        if not 0 <= number <= self._most:
            self.fail(f"{value!r} is no id; an id has at most 16 hex digits", param, ctx)
        return number


LEASE = Id(2**63 - 1)
MEMBER = Id()


@contextmanager
def leases_in_hex() -> Iterator[None]:
    """The store names a lease by its number; people know it as hex."""
    from hawser.store import LeaseExists, LeaseNotFound

    try:
        yield
    except (LeaseNotFound, LeaseExists) as error:
        told = re.sub(r"^lease (\d+)\b", lambda found: f"lease {int(found[1]):016x}", str(error))
        raise type(error)(told) from None
