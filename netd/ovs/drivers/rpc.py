"""One JSON-RPC 1.0 call over a unix socket, as Open vSwitch's daemons speak it: their control sockets
(ovs-appctl(8), unixctl) and, for the few calls beside the replica, the database server (RFC 7047 §4).
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from ...errors import NetError, Unavailable

TIMEOUT = 5.0


async def call(where: Path, method: str, *params: object, timeout: float = TIMEOUT) -> Any:
    """The result of one call; NetError when it is refused, Unavailable when nobody answers within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            answer = await _exchange(where, json.dumps({"id": 0, "method": method, "params": params}).encode())
    except TimeoutError:
        raise Unavailable(f"{where}: no answer to {method} within {timeout:g} s; is it stopped?") from None
    except (OSError, ValueError) as error:
        raise Unavailable(f"{where}: {method}: {getattr(error, 'strerror', None) or error}; does it run?") from error
    if answer.get("error") is not None:
        raise NetError(f"{method}: {_line(answer['error'])}")
    return answer.get("result")


async def transact(where: Path, *operations: dict[str, Any]) -> list[dict[str, Any]]:
    """One transaction in the Open_vSwitch database; NetError with the first operation's words that was refused."""
    results: list[dict[str, Any]] = await call(where, "transact", "Open_vSwitch", *operations)
    for result in results:
        if result and "error" in result:
            raise NetError(f"ovsdb refused: {_line(result.get('details') or result['error'])}")
    return results


async def _exchange(where: Path, request: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(where)
    try:
        writer.write(request)
        answer = b""
        while chunk := await reader.read(1 << 20):
            answer += chunk
            if chunk.endswith((b"}", b"}\n")):
                try:
                    decoded: dict[str, Any] = json.loads(answer)
                except ValueError:
                    continue
                return decoded
        raise ValueError("the connection was closed")
    finally:
        writer.close()


def _line(words: object) -> str:
    """The first line of a refusal."""
    text = words.get("details") or words.get("error") if isinstance(words, dict) else words
    return (str(text).strip().splitlines() or ["refused"])[0]
