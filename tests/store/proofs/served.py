"""A store in a process of its own, to be killed: `python -m tests.store.proofs.served DIRECTORY SOCKET`.

It says `open` when it answers on the unix socket: a JSON line asks, and a line answers a call, or a line each message
of a watch. `SocketClient` is a client of it; a connection is made when it is needed.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import msgspec
from msgspec import Struct

from hawser.store import SqliteStore

from .clients import StoreClient
from .operations import Answer, Call, Lost, Refused
from .watching import Message, Wanted

RING = 32  # so that a watch that resumes reads the log


class Ask(Struct, frozen=True, tag="ask"):
    call: Call


class Follow(Struct, frozen=True, tag="follow"):
    wanted: Wanted
    start: int


class Failure(Struct, frozen=True, tag="failure"):
    """There is no answer; `lost`: nor is it known what was done."""

    why: str
    lost: bool


async def serve(directory: Path, path: Path) -> None:
    store = await SqliteStore.open(directory, keep=None, ring=RING)
    client = StoreClient(store)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = msgspec.json.decode(line, type=Ask | Follow)
            if isinstance(request, Ask):
                _send(writer, await _answer(client, request.call))
                continue
            async with aclosing(client.watch(request.wanted, request.start)) as messages:
                async for message in messages:
                    _send(writer, message)
                    await writer.drain()

    async with await asyncio.start_unix_server(connected, path) as server:
        print("open", flush=True)
        await server.serve_forever()


async def _answer(client: StoreClient, call: Call) -> Answer | Failure:
    try:
        return await client.perform(call)
    except (Refused, Lost) as error:
        return Failure(str(error), isinstance(error, Lost))


def _send(writer: asyncio.StreamWriter, what: Struct) -> None:
    writer.write(msgspec.json.encode(what) + b"\n")


class SocketClient:
    """A `Client`; close it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def perform(self, call: Call) -> Answer:
        reader, writer = await self._connected()
        line = b""
        try:
            _send(writer, Ask(call))
            line = await reader.readline()
        except OSError:
            pass
        if not line.endswith(b"\n"):
            self.close()
            raise Lost("the store went away")
        answer: Answer | Failure = msgspec.json.decode(line, type=Answer | Failure)
        if isinstance(answer, Failure):
            raise (Lost if answer.lost else Refused)(answer.why)
        return answer

    async def watch(self, wanted: Wanted, start: int) -> AsyncGenerator[Message, None]:
        try:
            reader, writer = await self._connected()
            _send(writer, Follow(wanted, start))
            while (line := await reader.readline()).endswith(b"\n"):
                yield msgspec.json.decode(line, type=Message)
        except (OSError, Refused):
            pass
        finally:
            self.close()
        raise Lost("the store went away")

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            try:
                self._streams = await asyncio.open_unix_connection(self._path)
            except OSError as error:
                raise Refused(f"nobody listens: {error}") from error
        return self._streams


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
