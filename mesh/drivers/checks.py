"""The checks themselves: tcp and http over plain sockets, exec through whoever runs commands.

A check ends within its timeout with an outcome and never raises. Of several addresses one that passes is enough: a
program that listens on IPv4 only is not ill. At most `limit` checks run at a time; waiting for a turn is not part of
the timeout. Streams and HTTP clients are left out on purpose: at fifty checks a second they are most of the cost.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

from ..health import Outcome
from ..model import Address, Announcement, CheckKind

# runs a command for an announcement and returns its exit code. At the check's timeout (`announcement.check.timeout`,
# seconds) the call is cancelled, and must have ended the command when it comes out of that
Execute = Callable[[Announcement, Sequence[str]], Awaitable[int]]
# a socket that does not block, by which a tenant's address is reached
Dial = Callable[[str, Address], Awaitable[socket.socket]]
STATUS_MAX = 4096


class Checks:
    """Runs checks; one for all announcements of a node. Use it on one event loop."""

    def __init__(self, execute: Execute, limit: int = 64, dial: Dial | None = None) -> None:
        """`dial` makes the socket by which an address is reached, by default one of this process's namespace."""
        self._execute = execute
        self._dial = dial or _here
        self._turn = asyncio.Semaphore(limit)

    async def run(self, announcement: Announcement) -> Outcome:
        """One check of a tcp, http or exec announcement."""
        async with self._turn:
            if announcement.check.kind is CheckKind.EXEC:
                return await self._exec(announcement)
            outcome = Outcome(False, "no address")
            for address in announcement.addresses:
                outcome = await _probe(announcement, address, self._dial)
                if outcome.ok:
                    break
            return outcome

    async def _exec(self, announcement: Announcement) -> Outcome:
        check = announcement.check
        try:
            async with asyncio.timeout(check.timeout):
                code = await self._execute(announcement, check.command)
        except TimeoutError:
            return Outcome(False, f"{check.command[0]} did not end within {check.timeout:g} s")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Outcome(False, f"{check.command[0]} was broken off")  # by its runner, not by us
        except Exception as error:  # whatever a command's runner raises, the instance is what failed
            return Outcome(False, f"{check.command[0]} did not run: {_line(error)}")
        return Outcome(code == 0, f"{check.command[0]} ended with {code}")


async def _here(tenant: str, address: Address) -> socket.socket:
    return stream(address)


def stream(address: Address) -> socket.socket:
    """A socket that does not block, to connect to an address with."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


async def _probe(announcement: Announcement, address: Address, dial: Dial) -> Outcome:
    check, where = announcement.check, f"{_host(address)}:{announcement.port}"
    try:
        with await dial(announcement.tenant, address) as sock:
            async with asyncio.timeout(check.timeout):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, (str(address), announcement.port))
                if check.kind is CheckKind.TCP:
                    return Outcome(True, f"{where} accepts")
                return await _get(loop, sock, check.path, where)
    except TimeoutError:
        return Outcome(False, f"{where} did not answer within {check.timeout:g} s")
    except OSError as error:
        return Outcome(False, f"{where}: {os.strerror(error.errno).lower() if error.errno else _line(error)}")


async def _get(loop: asyncio.AbstractEventLoop, sock: socket.socket, path: str, where: str) -> Outcome:
    request = f"GET {path} HTTP/1.1\r\nHost: {where}\r\nUser-Agent: hawser\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(sock, request.encode())
    head = b""
    while b"\n" not in head and len(head) < STATUS_MAX:
        more = await loop.sock_recv(sock, 65536)
        if not more:
            break
        head += more
    words = head.split(b"\n", 1)[0].split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return Outcome(False, f"{where} does not speak HTTP")
    status = int(words[1][:4])
    return Outcome(200 <= status < 400, f"{where}{path} answers {status}")


def _host(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
