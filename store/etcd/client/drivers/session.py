"""Who the client is to etcd: a token got for a name and a password, and a new one when it is no longer taken.

etcd gives tokens that one member may forget before another, and drops them when users or roles change; so a refusal is
answered by one new token, however many calls were refused at once. Tokens and passwords are in no message.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ....errors import Denied
from ..transport import Metadata

SURE = 1.0  # seconds that a token is beyond doubt after a server took it
# a member without a leader says so at once, instead of keeping who asks
LEADER = ("hasleader", "true")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of etcd."""

    user: str
    password: str = field(repr=False)


class Session:
    """The token in use. `log_in` asks etcd for one; it returns "" when etcd asks for none."""

    def __init__(self, credentials: Credentials | None, log_in: Callable[[Credentials], Awaitable[str]]) -> None:
        self.credentials = credentials
        self._log_in = log_in
        self._lock = asyncio.Lock()
        self._token: str | None = None if credentials else ""
        self._born = self._taken = float("-inf")
        self._denied: tuple[str, float] | None = None

    async def token(self) -> str:
        """The token to use; "" is none."""
        if self._token is None:
            await self.renew(None)
        return self._token or ""

    async def renew(self, refused: str | None) -> None:
        """Get a new token unless somebody did already since `refused` was in use. Denied, Unavailable."""
        if self.credentials is None:
            return
        clock = asyncio.get_running_loop().time
        async with self._lock:
            if self._token != refused:
                return
            if self._denied is not None and clock() < self._denied[1] + SURE:
                raise Denied(self._denied[0])  # to who waited behind one that was denied
            try:
                self._token = await self._log_in(self.credentials)
            except Denied as error:
                self._denied = str(error), clock()
                raise
            self._born = clock()

    def taken(self, token: str) -> None:
        """A server took it."""
        if token and token == self._token:
            self._taken = asyncio.get_running_loop().time()

    @property
    def age(self) -> float:
        """Seconds since the token was got."""
        return asyncio.get_running_loop().time() - self._born

    @property
    def doubtful(self) -> bool:
        """Whether no server took it lately."""
        return asyncio.get_running_loop().time() - max(self._taken, self._born) > SURE


def metadata(token: str) -> Metadata:
    """What goes with every call."""
    return (LEADER, ("token", token)) if token else (LEADER,)
