"""Join tokens: one line to paste on a new machine.

`hawser1.<id>.<secret>.<rest>`: the id names the token in listings and logs and is no secret; the secret (16 bytes, in
base32) is known to the token only, the store keeps its hash; the rest is where to go and whom to trust there: cluster
id, hash of the CA's public key, endpoints of members, what to come in as, and a check sum over everything, so that a
token that was cut off is told from one that is wrong. Nothing in it needs quoting in a shell. A record in the store
says until when and how often the token may be used, and by which machines it was: a machine whose answer was lost may
ask again with the same key, which uses nothing up. Records outlive their expiry by a day, so that `expired` is not
`unknown`. `now` is seconds since the epoch.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from ..errors import Denied, Invalid
from .model import Role
from .names import endpoint_problem, hash_problem, id_problem, refuse

PREFIX = "hawser1"
SECRET_BYTES, ID_BYTES, CHECK_BYTES = 16, 5, 4
TTL, RETENTION = 3600.0, 86_400.0
TTL_MAX = 365 * 86_400.0
ID = re.compile(r"[a-z2-7]{8}")
SHAPE = f"a token is {PREFIX}.ID.SECRET.REST on one line, as `hawser node token` printed it"


class TokenUnknown(Denied):
    """No such token, or it ended long ago."""


class TokenWrong(Denied):
    """The token exists, with another secret."""


class TokenRevoked(Denied):
    """Somebody took it back."""


class TokenExpired(Denied):
    """Its time is over."""


class TokenUsed(Denied):
    """It was used as often as it may be."""


class TokenState(StrEnum):
    """Whether a token can be used."""

    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"
    USED = "used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What the new machine gets to know; `secret` in base32, `ca` as `sha256:…`, `role` what it comes in as."""

    id: str
    secret: str
    cluster: str
    ca: str
    endpoints: tuple[str, ...]
    role: Role = Role.MEMBER

    def __post_init__(self) -> None:
        refuse("token", _problems(self.id, self.secret, self.cluster, self.ca, self.endpoints))

    def __repr__(self) -> str:
        return f"Token(id={self.id!r}, cluster={self.cluster!r}, endpoints={self.endpoints!r})"  # a log is no place


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A machine that joined with a token: when, and with which key (`pem.key_hash` of its request)."""

    machine: str
    key: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What the store keeps of a token."""

    id: str
    digest: str
    created: float
    expires: float
    uses: int = 1
    role: Role = Role.MEMBER
    revoked: bool = False
    used: tuple[Use, ...] = ()

    @property
    def left(self) -> int:
        """How many more machines may use it."""
        return max(0, self.uses - len(self.used))

    @property
    def forgotten(self) -> float:
        """When the record may go."""
        return self.expires + RETENTION


def mint(
    entropy: bytes,
    *,
    cluster: str,
    ca: str,
    endpoints: Sequence[str],
    now: float,
    ttl: float = TTL,
    uses: int = 1,
    role: Role = Role.MEMBER,
) -> tuple[Token, TokenRecord]:
    """A token for the new machine and its record for the store, from 21 random bytes. `ttl` in seconds, at most a year.
    Invalid names every problem."""
    if len(entropy) != ID_BYTES + SECRET_BYTES:
        raise ValueError(f"needs {ID_BYTES + SECRET_BYTES} random bytes")
    id_, secret = _base32(entropy[:ID_BYTES]), _base32(entropy[ID_BYTES:])
    own = (
        None if 0 < ttl <= TTL_MAX else f"lives {ttl:g} s: give more than 0 and at most {TTL_MAX:g}",
        None if uses >= 1 else f"can be used {uses} times: give at least 1",
    )
    refuse("token", (*own, *_problems(id_, secret, cluster, ca, endpoints)))
    token = Token(id=id_, secret=secret, cluster=cluster, ca=ca, endpoints=tuple(endpoints), role=role)
    record = TokenRecord(id=id_, digest=_digest(id_, secret), created=now, expires=now + ttl, uses=uses, role=role)
    return token, record


def encode(token: Token) -> str:
    """The token's one line."""
    where = msgspec.msgpack.encode((token.cluster, bytes.fromhex(token.ca[7:]), token.endpoints, token.role))
    rest = _base64(where + _check(token.id, token.secret, where))
    return f"{PREFIX}.{token.id}.{token.secret}.{rest}"


def parse(text: str) -> Token:
    """The token in a line. Invalid says every problem; the secret is in none of them."""
    parts = text.strip().split(".")
    if parts[0] != PREFIX:
        raise Invalid(f"token: it begins with {parts[0][:20]!r}, not {PREFIX}: {SHAPE}")
    if len(parts) != 4:
        raise Invalid(f"token: it has {len(parts)} parts, not 4: {SHAPE}")
    _, id_, secret, rest = parts
    try:
        raw = base64.b64decode(rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=True)
        where, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
    except (binascii.Error, ValueError):
        raw = where = check = b""
    if not where or check != _check(id_, secret, where) or _base64(raw) != rest:
        raise Invalid("token: its check sum is wrong: it was cut off or changed; copy the whole line again")
    try:
        cluster, ca, endpoints, role = msgspec.msgpack.decode(where, type=tuple[str, bytes, tuple[str, ...], Role])
    except msgspec.MsgspecError as error:
        raise Invalid(f"token: it is of another version of hawser: {error}") from error
    return Token(id=id_, secret=secret, cluster=cluster, ca=f"sha256:{ca.hex()}", endpoints=endpoints, role=role)


def state(record: TokenRecord, now: float) -> TokenState:
    """Whether the token can be used now, or why not."""
    if record.revoked:
        return TokenState.REVOKED
    if now >= record.expires:
        return TokenState.EXPIRED
    return TokenState.VALID if record.left else TokenState.USED


def spend(record: TokenRecord | None, *, token: str, secret: str, machine: str, key: str, now: float) -> TokenRecord:
    """The record after `machine` used the token (`token`: its id) with the key it asks a certificate for; to be stored
    while the old one is unchanged. The same again changes nothing. Denied, by its subclasses, when it may not: only
    who knows the secret learns more than that the token is unknown or wrong."""
    if record is None:
        raise TokenUnknown(
            f"token {token} is not known here: it ended long ago or is of another cluster; make a new one"
        )
    if not hmac.compare_digest(record.digest, _digest(record.id, secret)) or token != record.id:
        raise TokenWrong(f"token {record.id} has another secret: copy the whole line again")
    if record.revoked:
        raise TokenRevoked(f"token {record.id} was revoked: make a new one")
    if now >= record.expires:
        raise TokenExpired(f"token {record.id} expired {_ago(now - record.expires)} ago: make a new one")
    if any(use.machine == machine and use.key == key for use in record.used):
        return record
    if not record.left:
        last = record.used[-1].machine
        raise TokenUsed(f"token {record.id} was used up, last by machine {last}: make a new one")
    return replace(record, used=(*record.used, Use(machine=machine, key=key, at=now)))


def revoke(record: TokenRecord) -> TokenRecord:
    """The record after the token was taken back."""
    return replace(record, revoked=True)


def _problems(id_: str, secret: str, cluster: str, ca: str, endpoints: Sequence[str]) -> list[str | None]:
    return [
        None if ID.fullmatch(id_) else f"id {id_!r}: it is 8 of a-z and 2-7",
        None if re.fullmatch(r"[a-z2-7]{26}", secret) else "its secret is 26 of a-z and 2-7",
        id_problem(cluster, "cluster id"),
        hash_problem(ca),
        None if endpoints else "it names no endpoint to go to",
        *map(endpoint_problem, endpoints),
    ]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _digest(id_: str, secret: str) -> str:
    return hashlib.sha256(f"{PREFIX}/{id_}/{secret}".encode()).hexdigest()  # 128 random bits need no slow hash


def _check(id_: str, secret: str, where: bytes) -> bytes:
    return hashlib.sha256(f"{id_}.{secret}.".encode() + where).digest()[:CHECK_BYTES]


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
