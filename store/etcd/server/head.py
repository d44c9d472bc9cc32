"""What a call's headers say: whether HTTP/2 allows them (RFC 9113, section 8), and what gRPC reads of them. Pure."""

import re
from dataclasses import dataclass
from functools import lru_cache

from .hpack import ENTRY, Field

_PSEUDO = frozenset((":method", ":scheme", ":path", ":authority"))
_NEEDED = (":method", ":scheme", ":path")
_CONNECTION = frozenset(("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"))
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(r"[\0\r\n]|^[ \t]|[ \t]$")
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_CONTENT = re.compile(r"application/grpc([+;].*)?")


@dataclass(frozen=True, slots=True)
class Head:
    """`flaw`: why HTTP/2 allows no request with it; `trailer`: whether it may end one. `timeout`: seconds that the
    client waits, None for ever, negative when what it says makes no sense. `length`: of the body, where it is said.
    `size`: bytes of memory, about."""

    flaw: str | None
    trailer: bool
    path: str
    method: str
    grpc: bool
    timeout: float | None
    length: int | None
    encoding: str
    token: str | None
    size: int


@lru_cache(maxsize=256)
def read(fields: tuple[Field, ...]) -> Head:
    """Clients say the same again and again."""
    said = dict(reversed(fields))
    length = said.get("content-length")
    return Head(
        flaw=_flaw(fields),
        trailer=all(_regular(*field) for field in fields),
        path=said.get(":path", ""),
        method=said.get(":method", ""),
        grpc=_CONTENT.fullmatch(said.get("content-type", "")) is not None,
        timeout=_seconds(said.get("grpc-timeout")),
        length=int(length) if length is not None and length.isdecimal() and len(length) < 20 else None,
        encoding=said.get("grpc-encoding", ""),
        token=said.get("token", said.get("authorization")),
        size=sum(len(name) + len(value) + ENTRY for name, value in fields),
    )


def _flaw(fields: tuple[Field, ...]) -> str | None:
    seen, regular = set[str](), False
    for name, value in fields:
        if not name.startswith(":"):
            regular = True
            if not _regular(name, value):
                return f"the header {name!r} is not allowed"
        elif regular or name in seen or name not in _PSEUDO or _BAD_VALUE.search(value):
            return f"the header {name!r} is not allowed there"
        else:
            seen.add(name)
    said = dict(fields)
    for name in _NEEDED:
        if not said.get(name):
            return f"there is no {name}"
    lengths = [value for name, value in fields if name == "content-length"]
    if any(not value.isdecimal() or len(value) > 19 or value != lengths[0] for value in lengths):
        return "the content's length makes no sense"
    return None


def _regular(name: str, value: str) -> bool:
    if name == "te":
        return value == "trailers"
    return _NAME.fullmatch(name) is not None and name not in _CONNECTION and not _BAD_VALUE.search(value)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else -1.0
