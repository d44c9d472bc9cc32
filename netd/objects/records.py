"""Records of the catalogue: how objects lie in the store, what a change looks at, and what it writes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hawser.store import Compare, KeyValue, Op, PutOp, Target

from .. import parse
from ..errors import NetError
from ..model import PORTS, Network, Port
from .checks import World
from .kinds import KINDS, Object, key_of, kind_of

OWNER = "reserved:"
BOUND = "/bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The entries beneath some prefixes at one revision."""

    entries: Mapping[str, KeyValue]
    prefixes: Sequence[str]
    revision: int

    def guards(self) -> list[Compare]:
        """True while nothing was put beneath the prefixes since."""
        return [Compare(prefix, Target.MOD, "<", self.revision + 1, prefix=True) for prefix in self.prefixes]

    def beneath(self, prefix: str) -> Iterable[KeyValue]:
        """The entries beneath a prefix."""
        return (entry for key, entry in self.entries.items() if key.startswith(prefix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to write when the compares hold, and the object as it then is, None when it is gone."""

    thing: Object | None = None
    compares: Sequence[Compare]
    ops: Sequence[Op]


def read(entry: KeyValue) -> Object:
    """The object of a record. NetError when it cannot be read."""
    return _read(entry.key, entry.value)


@lru_cache(maxsize=1 << 14)
def _read(record: str, value: bytes) -> Object:
    word = next(word for word, kind in KINDS.items() if record.startswith(kind.prefix))
    kind = KINDS[word]
    key = record.removeprefix(kind.prefix)
    try:
        plain = parse.decoded(value)
        # networks are written by the agent, in its own form
        thing: Object = parse.parse_network(plain) if kind.type is Network else kind.form.read(plain, "")
        if key_of(thing) != key:
            raise ValueError(f"it is {key_of(thing)}'s")
    except (NetError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NetError(f"record {record} cannot be read: {error}; correct it, or remove {word} {key}") from None
    return thing


def record_of(thing: Object) -> PutOp:
    """The write of an object's record."""
    kind = kind_of(thing)
    plain = parse.encode_network(thing) if isinstance(thing, Network) else kind.encode(thing)
    return PutOp(kind.prefix + key_of(thing), json.dumps(plain).encode())


def is_record(key: str) -> bool:
    """Whether a key is an object's record: claims and the like are not."""
    return any(key.startswith(kind.prefix) for kind in KINDS.values()) and not key.endswith(BOUND)


def world_of(view: View) -> World:
    """The objects of a view. NetError."""
    return World(read(entry) for key, entry in sorted(view.entries.items()) if is_record(key))


def read_port(entry: KeyValue) -> Port:
    """The port of a record. NetError when it cannot be read."""
    return _read_port(entry.key, entry.value)


@lru_cache(maxsize=1 << 14)
def _read_port(record: str, value: bytes) -> Port:
    try:
        port = parse.parse_port(parse.decoded(value))
        if port.key != record.removeprefix(PORTS):
            raise ValueError(f"it is {port.key}'s")
    except (NetError, ValueError, TypeError, RecursionError) as error:
        raise NetError(f"record {record} cannot be read: {error}; correct or delete it") from None
    return port


def owner(entry: KeyValue) -> str:
    """Who holds a claim, in words: the port's sandbox, or the reservation."""
    text = entry.value.decode(errors="replace")
    if text.startswith(OWNER):
        return f"port {text.removeprefix(OWNER)}"
    return text.rpartition("/")[2].partition(":")[0]
