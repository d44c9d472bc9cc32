"""A gateway that hangs up without a word on who has a token that it does not take, as those of some etcds do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from hawser.store.etcd.client import OutcomeUnknown, connect
from tests.wait import auntil


class Mute:
    """Takes the token `valid`; `puts` counts the changes made."""

    def __init__(self) -> None:
        self.valid, self.given, self.puts, self.port = "t1", 0, 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while answer := await self._answer(reader):
                body = json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> dict[str, object]:
        """Nothing: hang up."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        await reader.readexactly(int(headers["content-length"]))
        header: dict[str, object] = {"header": {"revision": "7"}}
        if "authenticate" in lines[0]:
            self.given += 1
            return header | {"token": f"t{self.given}"}
        if headers.get("authorization") != self.valid:
            return {}
        self.puts += "/kv/put" in lines[0]
        return header


@pytest.fixture
async def mute() -> AsyncIterator[Mute]:
    made = Mute()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


async def test_a_read_logs_in_anew(mute: Mute) -> None:
    async with connect(f"http://127.0.0.1:{mute.port}", transport="gateway", user="u", password="p") as store:
        assert await store.get(b"a") is None
        mute.valid = "t2"
        assert await store.get(b"a") is None
        assert await store.put(b"a", b"") == 7
    assert (mute.given, mute.puts) == (2, 1)


async def test_a_change_with_a_token_just_taken_may_have_been_made(mute: Mute) -> None:
    async with connect(f"http://127.0.0.1:{mute.port}", transport="gateway", user="u", password="p") as store:
        await store.put(b"a", b"")
        mute.valid = "t2"
        with pytest.raises(OutcomeUnknown, match="hung up"):
            await store.put(b"a", b"")
    assert mute.puts == 1


async def test_a_token_not_used_lately_is_tried_on_a_read_before_a_change(mute: Mute) -> None:
    async with connect(f"http://127.0.0.1:{mute.port}", transport="gateway", user="u", password="p") as store:
        await store.put(b"a", b"")
        mute.valid = "t2"
        session = getattr(store.calls, "session")  # noqa: B009
        await auntil(lambda: session.doubtful)
        assert await store.put(b"a", b"") == 7
    assert (mute.given, mute.puts) == (2, 2)
