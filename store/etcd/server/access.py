"""Who asks, and whether they may: the users, roles and tokens of one server, kept in the store.

While authentication is disabled `enabled` is the only thing that a call looks at.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable

from ... import auth
from ...auth import AuthState, Guard, Identity, Need, SimpleTokens, Tokens
from ...embedded.engine import Engine
from .calls import Caller
from .secrecy import Secrecy

META = "etcd.auth"


class Access:
    """`state` is what is durable; it changes only by `change`."""

    def __init__(self, engine: Engine, tokens: Tokens | None = None, *, certificates: bool = False) -> None:
        """Corrupt. With `certificates`, a client's certificate says who asks when no token does."""
        self._engine = engine
        self._tokens: Tokens = SimpleTokens() if tokens is None else tokens
        self._certificates = certificates
        self._changing = asyncio.Lock()
        self.secrecy = Secrecy()
        self._issued = 0
        stored = engine.meta.get(META)
        self._take(AuthState() if stored is None else auth.decode(stored))

    def _take(self, state: AuthState) -> None:
        self.state, self.enabled, self.guard = state, state.enabled, Guard(state)

    def who(self, caller: Caller) -> Identity | None:
        """InvalidToken."""
        if not self.enabled:
            return None
        name = caller.common_name if self._certificates else None
        return auth.identify(self._tokens, self.state, token=caller.token, common_name=name, now=time.time())

    def admit(self, caller: Caller, need: Need) -> Identity | None:
        """What can be said of a call before its keys are looked at. InvalidToken, Anonymous, PermissionDenied."""
        if not self.enabled or need is Need.NOTHING:
            return None
        who = self.who(caller)
        self.guard.admit(who, need)
        return who

    def lease_keys(self, lease: int) -> Iterable[bytes]:
        """The keys that a lease holds."""
        return self._engine.keys.leases.get(lease, ())

    async def change(self, make: Callable[[AuthState], AuthState]) -> None:
        """One change after the other, durable when this returns. What `make` raises."""
        async with self._changing:
            before = self.state
            after = make(before)
            if after is before:
                return
            await self._engine.set_meta(META, auth.encode(after))
            self._take(after)
            self._tokens.follow(before, after)

    async def authenticate(self, name: str, password: str) -> str:
        """A token for who knows the password. AuthFailed, NotEnabled, NoPasswordUser."""
        try:
            stored = auth.stored_password(self.state, name)
        except auth.AuthFailed:
            await self.secrecy.pretend(password)
            raise
        if not await self.secrecy.verify(stored, password):
            raise auth.AuthFailed("the user or the password is wrong; check both")
        # who changed the password or disabled authentication meanwhile is heeded
        if auth.stored_password(self.state, name) != stored:
            raise auth.AuthFailed("the password was changed meanwhile; use the new one")
        now = time.time()
        if isinstance(self._tokens, SimpleTokens):
            self._tokens.expire(now)
        self._issued += 1
        prefix = "".join(secrets.choice(auth.LETTERS) for _ in range(auth.PREFIX_LETTERS))
        return self._tokens.issue(name, self.state.revision, now=now, prefix=prefix, index=self._issued)
