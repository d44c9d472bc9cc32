"""`kv serve --auth-token`: what tokens are, in etcd's own words for it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .spans import seconds

if TYPE_CHECKING:
    from hawser.store.auth import Tokens

OPTIONS = ("sign-method", "priv-key", "pub-key", "ttl")


def tokens(text: str) -> "Tokens | None":
    """`simple` (None: the server's own), or `jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=10m`. UsageError."""
    kind, *pairs = text.split(",")
    if kind == "simple" and not pairs:
        return None
    given = dict(pair.partition("=")[::2] for pair in pairs)
    unknown = sorted(set(given) - set(OPTIONS))
    if kind != "jwt" or unknown or not given.get("sign-method"):
        raise _wrong(f"unknown option {unknown[0]}" if unknown else f"{text!r} is no kind of token")
    from hawser.store.auth.jwt import JwtTokens, load_key
    from hawser.store.auth.tokens import TTL

    if (lasts := seconds(given["ttl"]) if "ttl" in given else TTL) is None:
        raise _wrong(f"{given['ttl']!r} is no time")
    return JwtTokens(load_key(given["sign-method"], _read(given, "priv-key"), _read(given, "pub-key")), lasts)


def _read(given: dict[str, str], name: str) -> bytes | None:
    if not given.get(name):
        return None
    try:
        return Path(given[name]).read_bytes()
    except OSError as error:
        raise _wrong(f"{given[name]}: {error.strerror}") from error


def _wrong(reason: str) -> click.BadParameter:
    form = "simple, or jwt,sign-method=HS256|RS256|ES256,priv-key=FILE[,pub-key=FILE][,ttl=5m]"
    return click.BadParameter(
        f"{reason}; write {form}", click.get_current_context(silent=True), param_hint="'--auth-token'"
    )
