"""At the cluster's door, from outside: find the CA that the token means, then join; later, renew.

Each endpoint of the token is tried in turn. Nothing is told to a server before its CA's key has the token's hash and
its certificate is of that CA.
"""

import ssl
import time
from collections.abc import Sequence
from typing import TypeVar

import aiohttp
import msgspec

from ...errors import Conflict, Denied, Invalid, NotFound, StoreError, Unavailable
from .. import pem
from ..joining import JoinAnswer, JoinRequest, RenewAnswer, RenewRequest
from ..model import UNREADABLE
from ..tokens import Token
from .home import Home

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=3)
LARGEST = 1 << 16  # bytes of a bundle of CAs
OTHER_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED (verify(1))
KINDS: dict[int, type[StoreError]] = {400: Invalid, 403: Denied, 404: NotFound, 409: Conflict}
T = TypeVar("T", bound=msgspec.Struct)


async def join(token: Token, request: JoinRequest) -> JoinAnswer:
    """Ask to be let in. Denied, Invalid, Unavailable when no endpoint answers."""
    failures = list[str]()
    for endpoint in token.endpoints:
        try:
            async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
                trusted = ssl.create_default_context(cadata=await _authority(session, endpoint, token.ca))
                return await _ask(session, f"https://{endpoint}/v1/join", request, JoinAnswer, trusted)
        except (aiohttp.ClientError, TimeoutError, OSError, Unavailable) as error:
            failures.append(f"{endpoint} ({_reason(error)})")
    raise Unavailable(f"no machine of the cluster answers: {', '.join(failures)}; is one up and reachable?")


async def renew(home: Home, endpoints: Sequence[str], request: RenewRequest) -> RenewAnswer:
    """A new certificate for the key of the request. Denied, Invalid, Unavailable."""
    shown = ssl.create_default_context(cafile=str(home.ca))
    shown.load_cert_chain(home.certificate)
    failures = list[str]()
    for endpoint in endpoints:
        try:
            async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
                return await _ask(session, f"https://{endpoint}/v1/renew", request, RenewAnswer, shown)
        except (aiohttp.ClientError, TimeoutError, OSError, Unavailable) as error:
            failures.append(f"{endpoint} ({_reason(error)})")
    raise Unavailable(f"no machine renews certificates: {', '.join(failures) or 'none is known'}; trying again")


async def _authority(session: aiohttp.ClientSession, endpoint: str, wanted: str) -> str:
    """The one CA that the token means, and nothing else that a stranger shows beside it. Denied."""
    async with session.get(f"https://{endpoint}/v1/ca", ssl=False) as answer:
        shown = await answer.content.read(LARGEST)
    try:
        return pem.pinned(shown, wanted, now=time.time()).decode()
    except Invalid as error:
        raise Unavailable(f"it shows no CA: {error}") from error


async def _ask(
    session: aiohttp.ClientSession, url: str, request: msgspec.Struct, kind: type[T], context: ssl.SSLContext
) -> T:
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=msgspec.json.encode(request), headers=headers, ssl=context) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise KINDS.get(answer.status, Unavailable)(body.decode(errors="replace")[:500] or answer.reason)
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise Unavailable(f"its answer makes no sense: {error}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in OTHER_TIME:
        return f"its {cause.verify_message} by this machine's clock: compare the clocks of both machines"
    return str(error) or type(error).__name__
