"""Passwords are kept as scrypt hashes, each with its own salt and cost: `scrypt$COST$SALT$HASH`, base64 the last two.

Slow on purpose (about 50 ms and 16 MiB at the usual cost): call both functions off the event loop. The salt is the
caller's randomness. etcd's own bcrypt hashes are not read: users moved from there need new passwords.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode

from .errors import AuthFailed, NoPasswordUser, NotEnabled
from .model import AuthState

COST = 14
"""log2 of scrypt's work."""
SALT_BYTES = 16


def hash_password(password: str, salt: bytes, *, cost: int = COST) -> str:
    """`salt`: at least 16 random bytes; `cost` from 1 to 20. ValueError."""
    if len(salt) < SALT_BYTES:
        raise ValueError(f"a salt of {len(salt)} bytes is too short; give {SALT_BYTES} random ones")
    digest = _scrypt(password, salt, cost)
    return "$".join(("scrypt", str(cost), b64encode(salt).decode(), b64encode(digest).decode()))


def verify_password(stored: str, password: str) -> bool:
    """Whether the password is the one whose hash is stored; of what is no such hash none is."""
    try:
        kind, cost, salt, digest = stored.split("$")
        return kind == "scrypt" and hmac.compare_digest(
            _scrypt(password, b64decode(salt), int(cost)), b64decode(digest)
        )
    except ValueError:
        return False


def stored_password(state: AuthState, name: str) -> str:
    """What to verify somebody's password against. NotEnabled, AuthFailed, NoPasswordUser."""
    if not state.enabled:
        raise NotEnabled("authentication is not enabled, so there are no tokens; go on without one")
    if name not in state.users:
        raise AuthFailed("the user or the password is wrong; check both")
    password = state.users[name].password
    if password is None:
        raise NoPasswordUser(f"the user {name!r} has no password; use a client certificate")
    return password


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    if not 1 <= cost <= 20:
        raise ValueError(f"a cost of {cost} is not within 1 and 20")
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << cost, r=8, p=1, maxmem=(1 << 11 << cost), dklen=32)
