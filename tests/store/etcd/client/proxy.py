"""A TCP proxy before an etcd that can be made to misbehave: connections cut, bytes swallowed, nobody at the door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(eq=False)
class Proxy:
    """`deaf`: what clients send is swallowed; `mute`: what the server answers is. `accepted` counts connections."""

    target: int
    deaf: bool = False
    mute: bool = False
    accepted: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Take connections (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Nobody is there any more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Every connection ends at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            there, here = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, here}
        with suppress(OSError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._copy(reader, here, "deaf"))
                tasks.create_task(self._copy(there, writer, "mute"))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, swallows: str) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if not getattr(self, swallows):
                    sink.write(data)
                    await sink.drain()
        sink.transport.abort()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy before a port of this machine."""
    made = Proxy(target)
    await made.open()
    try:
        yield made
    finally:
        made.refuse()
