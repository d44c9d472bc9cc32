"""Calls to a cluster: the endpoint that works, another when it fails, within a deadline; and who asks (session.py).

What may be tried again, and where, is decided in retry.py and endpoints.py. A call that may have changed something
and was not answered ends with `OutcomeUnknown`; one that nobody took within its time with Unavailable, which names
every endpoint and what was wrong with it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from ....errors import Denied, StoreError, Unavailable
from ... import etcd_pb2 as pb
from ... import services
from ...errors import EtcdError, meant
from ...services import Call
from ..endpoints import Endpoint, Roster
from ..retry import AUTH_OFF, OutcomeUnknown, Turn, judge
from ..transport import Failed, Q, R, Stream, Transport
from .session import Credentials, Session, metadata

TIMEOUT = 5.0
LEAST = 0.5  # seconds for one of several attempts
CLOSED = "the store is closed"
Failure = EtcdError | Failed
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Q, R]):
    """A call, and how it may be tried: `attempt` seconds at most at a time, `login` without a token."""

    call: Call[Q, R]
    request: Q
    repeatable: bool
    attempt: float | None = None
    at: Endpoint | None = None
    login: bool = False

    def limit(self, left: float, others: bool) -> float:
        """How long one try may take: with others to go to, half of what is left."""
        if not self.repeatable or self.at is not None:
            return left
        if others:
            left = max(left / 2, min(left, LEAST))
        return left if self.attempt is None else min(left, self.attempt)


class Pool:
    """The endpoints of one cluster. `timeout` seconds is what a call may take unless it says otherwise."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        transport: Callable[[Endpoint], Transport],
        *,
        timeout: float = TIMEOUT,
        credentials: Credentials | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.roster = Roster(endpoints, chance)
        self._chance = chance
        self.timeout = timeout
        self.session = Session(credentials, self._log_in)
        self._open = transport
        self._transports: dict[Endpoint, Transport] = {}
        self._clock = asyncio.get_running_loop().time
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.closed = False

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self.roster.endpoints

    async def call(
        self,
        call: Call[Q, R],
        request: Q,
        *,
        repeatable: bool = False,
        timeout: float | None = None,
        attempt: float | None = None,
        at: Endpoint | None = None,
    ) -> R:
        """One call; `repeatable` when twice is the same as once; `at` one endpoint and no other. StoreError."""
        self.check()
        self._under_way += 1
        self._idle.clear()
        try:
            asked = _Asked(call, request, repeatable, attempt, at)
            return await self._insist(asked, self.timeout if timeout is None else timeout)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _insist(self, asked: "_Asked[Q, R]", timeout: float) -> R:
        """Try until there is an answer, within `timeout` seconds."""
        deadline, logins = self._clock() + timeout, 0
        while True:
            endpoint = asked.at or await self._next(deadline)
            token = "" if asked.login else await self._by(deadline, self._token(endpoint, asked.repeatable))
            limit = asked.limit(max(deadline - self._clock(), 0.001), len(self.roster.endpoints) > 1)
            transport = self._transport(endpoint)
            try:
                response = await transport.unary(asked.call, asked.request, timeout=limit, metadata=metadata(token))
            except (EtcdError, Failed) as failure:
                turn = judge(failure, repeatable=asked.repeatable, user=bool(token) and not logins)
                if turn is Turn.LOG_IN and self.session.credentials and not asked.login and logins < 2:
                    logins += 1
                    await self._by(deadline, self.session.renew(token))
                    continue
                self._after(failure, turn, endpoint, asked.call)
                if asked.at is not None:
                    raise Unavailable(f"etcd does not answer at {endpoint} ({said(failure)}); is it running?") from None
            else:
                self.roster.worked(endpoint)
                self.session.taken(token)
                return response

    async def _by(self, deadline: float, step: Awaitable[S]) -> S:
        """A step on the way to an answer, in the time that is left for the answer."""
        try:
            async with asyncio.timeout_at(deadline):
                return await step
        except TimeoutError:
            raise Unavailable(self.story()) from None

    async def _token(self, endpoint: Endpoint, repeatable: bool) -> str:
        """The token to show. Where a refusal may look like an accident (`Failed.mute`) it is tried on a read before a
        change, so that a change is never in doubt for its sake."""
        token = await self.session.token()
        if token and not repeatable and not self.shares and self.session.doubtful:
            with suppress(Denied):
                request = pb.RangeRequest(key=b"\0", count_only=True)
                await self._insist(_Asked(services.RANGE, request, True, at=endpoint), self.timeout)
            token = await self.session.token()
        return token

    def _after(self, failure: Failure, turn: Turn, endpoint: Endpoint, call: Call[Q, R]) -> None:
        """Raise what a failure means, or note it and come back for another try."""
        if turn in (Turn.GIVE_UP, Turn.LOG_IN):
            assert isinstance(failure, EtcdError)
            raise error_of(failure) from None
        self._note(endpoint, failure)
        if turn is Turn.UNKNOWN:
            raise OutcomeUnknown(
                f"etcd at {endpoint} did not answer ({said(failure)}): the outcome of {call.name} is unknown; "
                "look before doing it again"
            ) from None

    def _note(self, endpoint: Endpoint, failure: Failure) -> None:
        final = isinstance(failure, Failed) and failure.final
        self.roster.failed(endpoint, self._clock(), said(failure), final=final)

    async def _next(self, deadline: float | None) -> Endpoint:
        """The endpoint to use, when it has rested. Unavailable when that is after the deadline."""
        endpoint, rest = self.roster.pick(self._clock())
        if deadline is not None and (self._clock() + rest >= deadline or (rest and self.roster.hopeless())):
            raise Unavailable(self.story())
        if rest:
            await asyncio.sleep(rest)
        return endpoint

    @asynccontextmanager
    async def stream(
        self, call: Call[Q, R], *, at: Endpoint | None = None
    ) -> AsyncIterator[tuple[Stream[Q, R], Endpoint, str]]:
        """A stream to the endpoint whose turn it is, or `at` one; with the token that opened it. What goes wrong within
        is noted, and raised as it is: EtcdError, Failed."""
        self.check()
        endpoint = at or await self._next(None)
        token = await self.session.token()
        try:
            transport = self._transport(endpoint)
            async with transport.stream(call, timeout=self.timeout, metadata=metadata(token)) as stream:
                yield stream, endpoint, token
        except (EtcdError, Failed) as failure:
            if judge(failure, repeatable=True, user=bool(token)) is not Turn.LOG_IN:
                self._note(endpoint, failure)
            raise

    async def _log_in(self, credentials: Credentials) -> str:
        request = pb.AuthenticateRequest(name=credentials.user, password=credentials.password)
        try:
            response = await self._insist(_Asked(services.AUTHENTICATE, request, True, login=True), self.timeout)
        except StoreError as error:
            if AUTH_OFF.removeprefix("etcdserver: ") in str(error):
                return ""
            raise
        return response.token

    def _transport(self, endpoint: Endpoint) -> Transport:
        found = self._transports.get(endpoint)
        if found is None:
            found = self._transports[endpoint] = self._open(endpoint)
        return found

    @property
    def shares(self) -> bool:
        """Whether one stream carries many watches."""
        return self._transport(self.roster.endpoints[0]).shares

    def story(self) -> str:
        """Why nobody answers, in one line."""
        if self.roster.hopeless():
            return f"etcd cannot be talked to at {self.roster.story()}"
        return f"etcd does not answer at {self.roster.story()}; is it running?"

    def check(self) -> None:
        if self.closed:
            raise Unavailable(CLOSED)

    async def move(self, endpoints: Sequence[Endpoint]) -> None:
        """Go on at these endpoints, over new connections, for which certificates are read anew. What is under way on
        the old ones has its time; streams are opened again."""
        self.roster = Roster(endpoints, self._chance)
        old, self._transports = list(self._transports.values()), {}
        try:
            await asyncio.sleep(self.timeout)
        finally:
            for transport in old:
                await transport.close()

    async def close(self) -> None:
        """Refuse what is new, finish what was accepted, then hang up."""
        self.closed = True
        await self._idle.wait()
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.close()


def error_of(failure: EtcdError) -> StoreError:
    """etcd's error as ours."""
    return meant(failure.code, failure.text)


def said(failure: Failure) -> str:
    """What went wrong, for a sentence about an endpoint."""
    return failure.reason if isinstance(failure, Failed) else failure.text.removeprefix("etcdserver: ")
