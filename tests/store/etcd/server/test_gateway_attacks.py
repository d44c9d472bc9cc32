"""What a hostile client may send to the JSON gateway."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd.server import Limits, limits
from tests.wait import auntil

from .raw import Siege, besieged

KEY = base64.b64encode(b"key").decode()
HURRIED = Limits(frame=0.3, stalled=0.3)


@pytest.fixture
async def siege(engine: MemoryEngine, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Siege]:
    """Nothing that a client says is an error of ours."""
    with caplog.at_level(logging.ERROR):
        async with besieged(engine, HURRIED) as begun:
            yield begun
    assert not caplog.records


class Plain:
    """HTTP/1 by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def begin(self, path: str, *headers: str) -> None:
        lines = [f"POST /v3/{path} HTTP/1.1", "Host: a", *headers]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def post(self, path: str, body: bytes) -> None:
        self.begin(path, f"Content-Length: {len(body)}")
        self.writer.write(body)

    def chunk(self, data: bytes) -> None:
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def answer(self) -> tuple[int, Any]:
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await self._reader.readexactly(int(fields["content-length"]))
        return int(head.split()[1]), json.loads(body) if "json" in fields["content-type"] else body.decode()

    async def gone(self) -> None:
        async with asyncio.timeout(5):
            while await self._reader.read(1 << 16):
                pass


@pytest.fixture
async def plain(siege: Siege) -> AsyncIterator[Plain]:
    host, _, port = siege.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    yield Plain(reader, writer)
    writer.transport.abort()


BAD: dict[str, bytes] = {
    "no JSON": b"{bad",
    "a number": b"5",
    "a list": b"[]",
    "nothing of nothing": b"null",
    "two requests": b"{}{}",
    "a wrong type": b'{"key": 5}',
    "no base64": b'{"key": "*"}',
    "an object for bytes": b'{"key": {}}',
    "a list for bytes": b'{"key": ["YQ=="]}',
    "a number beyond 64 bits": b'{"key": "YQ==", "lease": "99999999999999999999"}',
    "a number of many digits": b'{"key": "YQ==", "lease": ' + b"9" * 5000 + b"}",
    "no number": b'{"key": "YQ==", "lease": NaN}',
    "infinity": b'{"key": "YQ==", "lease": 1e999}',
    "half a number": b'{"key": "YQ==", "lease": 1.5}',
    "half a character": b'{"key": "\\ud800"}',
    "deep lists": b'{"key": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "nulls": bytes(1000),
    "no UTF-8": b'{"\xff\xfe": "\xff"}\xff',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_a_bad_body_is_a_bad_request(plain: Plain, body: bytes) -> None:
    plain.post("kv/put", body)
    status, answer = await plain.answer()
    assert (status, answer["code"]) == (400, 3)
    plain.post("kv/put", b'{"key": "YQ=="}')
    assert (await plain.answer())[0] == 200


async def test_nested_transactions_in_json(plain: Plain) -> None:
    deep = '{"success":[{"request_txn":' * 24 + "{}" + "}]}" * 24
    plain.post("kv/txn", deep.encode())
    assert (await plain.answer())[0] == 200
    plain.post("kv/txn", ('{"success":[{"request_txn":' * 40 + "{}" + "}]}" * 40).encode())
    assert (await plain.answer())[0] == 400


@pytest.mark.parametrize(("size", "status"), [(1_500_000, 200), (1_600_000, 400), (limits.MAX_BODY, 400)])
async def test_a_value_is_no_larger_than_through_grpc(plain: Plain, size: int, status: int) -> None:
    body = json.dumps({"key": KEY, "value": base64.b64encode(bytes(size)).decode()}).encode()
    plain.post("kv/put", body)
    got, answer = await plain.answer()
    assert got == status
    assert status == 200 or answer["error"] == "etcdserver: request is too large"


async def test_a_body_in_pieces_of_a_byte_is_read_once(plain: Plain, engine: MemoryEngine) -> None:
    value = base64.b64encode(bytes(30_000)).decode()
    plain.begin("kv/put", "Transfer-Encoding: chunked")
    for byte in json.dumps({"key": KEY, "value": value}).encode():
        plain.chunk(bytes((byte,)))
    plain.writer.write(b"0\r\n\r\n")
    assert (await plain.answer())[0] == 200
    assert engine.revision == 2


@pytest.mark.parametrize("lie", [b"ffffffffffffffffff\r\n", b"-5\r\n", b"zz\r\n", b"5\r\nabcdefg\r\n"])
async def test_chunks_that_lie(plain: Plain, siege: Siege, lie: bytes) -> None:
    plain.begin("kv/put", "Transfer-Encoding: chunked")
    plain.writer.write(lie)
    assert (await plain.answer())[0] in (400, 504)
    await siege.goes_on()


async def test_both_lengths_is_an_attack(plain: Plain) -> None:
    """Smuggling: a proxy before us may believe the other one."""
    plain.begin("kv/put", "Content-Length: 2", "Transfer-Encoding: chunked")
    plain.writer.write(b"0\r\n\r\n")
    assert (await plain.answer())[0] == 400


async def test_a_body_that_does_not_come(plain: Plain) -> None:
    plain.begin("kv/put", "Content-Length: 1000")
    plain.writer.write(b'{"key"')
    assert (await plain.answer())[0] == 504
    await plain.gone()


async def test_a_packed_body_is_not_unpacked(plain: Plain) -> None:
    plain.begin("kv/put", "Content-Length: 5", "Content-Encoding: gzip")
    plain.writer.write(b"\x1f\x8b\x08\0\0")
    assert (await plain.answer())[0] == 400


async def test_requests_in_a_row(plain: Plain) -> None:
    for _ in range(500):
        plain.post("kv/put", b'{"key": "YQ=="}')
    for number in range(500):
        status, answer = await plain.answer()
        assert (status, answer["header"]["revision"]) == (200, str(number + 2))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_wrong_methods(plain: Plain, method: str) -> None:
    plain.writer.write(f"{method} /v3/kv/put HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (await plain.answer())[0] in (400, 405)


async def test_a_stream_of_requests_without_end_holds_nothing(plain: Plain, siege: Siege) -> None:
    """Each beat is answered; who does not read the answers goes."""
    plain.begin("lease/keepalive", "Transfer-Encoding: chunked")
    plain.writer.transport.pause_reading()  # type: ignore[attr-defined]
    beats = b'{"ID":"1"}' * 6000
    for _ in range(200):
        plain.chunk(beats)
    await auntil(lambda: len(siege.crowd) == 0, what="it was let go", timeout=10)


async def test_a_watcher_that_is_gone_leaves_nothing(plain: Plain, siege: Siege) -> None:
    plain.begin("watch", "Transfer-Encoding: chunked")
    plain.chunk(b'{"create_request": {"key": "YQ=="}}')
    await auntil(lambda: siege.engine.feed._watchers, what="it watches")
