"""Tokens: what somebody who proved who they are shows from then on. Time and randomness are the caller's.

etcd's simple tokens (here) are random, known to this member alone, and live until they were not used for their time to
live; a changed password or a deleted user ends that user's, disabling authentication all. They always speak for the
state as it is now. Signed ones (`jwt.py`) are known by their signature and speak for the state they were given at.
"""

from dataclasses import dataclass
from typing import Protocol

from .errors import InvalidToken
from .model import AuthState, Identity

TTL = 300.0
"""etcd's, in seconds."""
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PREFIX_LETTERS = 16
"""A simple token's random part: so many of LETTERS."""


class Tokens(Protocol):
    """One way to give and to know tokens; `now` in seconds since the epoch."""

    def issue(self, user: str, revision: int, *, now: float, prefix: str, index: int) -> str:
        """A token; `prefix` is 16 random LETTERS, `index` a number that no other token has. VerifyOnly."""
        ...

    def identify(self, token: str, revision: int, *, now: float) -> Identity:
        """Whose token it is; `revision` is the state's. InvalidToken."""
        ...

    def follow(self, before: AuthState, after: AuthState) -> None:
        """The state changed: forget what it ends."""
        ...


@dataclass(slots=True)
class _Issued:
    user: str
    until: float


class SimpleTokens:
    """etcd's `simple` provider; `ttl` in seconds. Its owner calls `expire` at `deadline`, or now and then."""

    def __init__(self, ttl: float = TTL) -> None:
        self._ttl = ttl
        self._issued = dict[str, _Issued]()

    def __len__(self) -> int:
        return len(self._issued)

    def issue(self, user: str, revision: int, *, now: float, prefix: str, index: int) -> str:
        token = f"{prefix}.{index}"
        if token in self._issued:
            raise ValueError("this token was given already; the prefix must be random, the index new")
        self._issued[token] = _Issued(user, now + self._ttl)
        return token

    def identify(self, token: str, revision: int, *, now: float) -> Identity:
        """Using a token renews it."""
        issued = self._issued.get(token)
        if issued is None or now > issued.until:
            raise InvalidToken("this token is unknown, or was not used for too long; authenticate again")
        issued.until = now + self._ttl
        return Identity(issued.user, revision)

    def follow(self, before: AuthState, after: AuthState) -> None:
        gone = {
            name
            for name, user in before.users.items()
            if name not in after.users or after.users[name].password != user.password
        }
        everybody = before.enabled and not after.enabled
        self._issued = {
            token: issued for token, issued in self._issued.items() if not everybody and issued.user not in gone
        }

    def deadline(self) -> float | None:
        """When the next token ends unless it is used."""
        return min((issued.until for issued in self._issued.values()), default=None)

    def expire(self, now: float) -> None:
        self._issued = {token: issued for token, issued in self._issued.items() if now <= issued.until}


def identify(
    tokens: Tokens, state: AuthState, *, token: str | None, common_name: str | None, now: float
) -> Identity | None:
    """Who asks: a token speaks before a certificate, also while authentication is disabled (etcd 3.4). InvalidToken.

    `common_name` is that of the client's verified certificate, None without one, when certificates do not count as
    users, or when a gateway asks for somebody (its certificate is its own).
    """
    if token is not None:
        return tokens.identify(token, state.revision, now=now)
    return None if common_name is None else Identity(common_name, state.revision)
