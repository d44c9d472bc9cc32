"""The JSON gateway, at the address where gRPC is."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services

from .servers import connected, our_server


class Asking:
    """One server, over HTTP."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address, self.session = address, session

    async def __call__(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        text = body if isinstance(body, str) else json.dumps(body)
        async with self.session.post(f"http://{self.address}/v3/{path}", data=text, headers=headers) as answer:
            return answer.status, json.loads(await answer.text())


@pytest.fixture
async def asking(engine: MemoryEngine) -> AsyncIterator[Asking]:
    async with our_server(engine) as address, aiohttp.ClientSession() as session:
        yield Asking(address, session)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_bytes_are_base64_and_numbers_strings_and_nothing_is_left_out_but_zero(asking: Asking) -> None:
    status, put = await asking("kv/put", {"key": b64(b"a"), "value": b64(b"\xff\x00")})
    assert (status, put["header"]["revision"], put["header"]["raft_term"]) == (200, "2", "2")
    _, found = await asking("kv/range", {"key": b64(b"a"), "sortTarget": "MOD", "sort_order": 2, "limit": "5"})
    kv = {"key": b64(b"a"), "create_revision": "2", "mod_revision": "2", "version": "1", "value": b64(b"\xff\x00")}
    assert (found["kvs"], found["count"], "more" in found) == ([kv], "1", False)


async def test_errors_say_it_twice_with_a_code(asking: Asking) -> None:
    text = "etcdserver: key is not provided"
    for body in ("", "{}", {"nobody": 1}):
        assert await asking("kv/put", body) == (400, {"error": text, "message": text, "code": 3})
    await asking("lease/grant", {"TTL": 5, "ID": 7})
    assert (await asking("lease/grant", {"TTL": 5, "ID": 7}))[0] == 412
    assert (await asking("lease/revoke", {"ID": 8}))[0] == 404
    assert (await asking("kv/put", "{bad"))[0] == 400
    assert (await asking("maintenance/downgrade", {}))[0] == 501


async def test_a_watch_is_a_line_for_each_response(asking: Asking, engine: MemoryEngine) -> None:
    await engine.put(b"a", b"1")
    created = {"create_request": {"key": b64(b"a"), "start_revision": "2"}}
    two = json.dumps(created) + json.dumps({"create_request": {"key": b64(b"b"), "watch_id": 5}})
    async with asking.session.post(f"http://{asking.address}/v3/watch", data=two) as answer:
        lines = [json.loads(await answer.content.readline())["result"] for _ in range(3)]
        assert [line.get("created", False) for line in lines].count(True) == 2
        await engine.put(b"b", b"")
        last = json.loads(await answer.content.readline())["result"]
        assert (last["watch_id"], last["events"][0]["kv"]["key"]) == ("5", b64(b"b"))


async def test_several_beats_of_a_lease_in_one_body(asking: Asking) -> None:
    await asking("lease/grant", {"TTL": 5, "ID": 7})
    body = '{"ID":"7"}{"ID":"8"}'
    async with asking.session.post(f"http://{asking.address}/v3/lease/keepalive", data=body) as answer:
        lines = [json.loads(line)["result"] for line in (await answer.text()).splitlines()]
    assert [(line["ID"], line.get("TTL")) for line in lines] == [("7", "5"), ("8", None)]


async def test_older_paths_of_leases(asking: Asking) -> None:
    await asking("lease/grant", {"TTL": 50, "ID": 7})
    assert (await asking("kv/lease/timetolive", {"ID": 7}))[1]["grantedTTL"] == "50"
    assert (await asking("kv/lease/leases", {}))[1]["leases"] == [{"ID": "7"}]
    assert (await asking("kv/lease/revoke", {"ID": 7}))[0] == 200


async def test_health_and_version_and_what_is_not_there(asking: Asking, engine: MemoryEngine) -> None:
    async def get(path: str) -> tuple[int, str]:
        async with asking.session.get(f"http://{asking.address}{path}") as answer:
            return answer.status, await answer.text()

    assert await get("/version") == (200, '{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}')
    assert await get("/health") == (200, '{"health":"true"}')
    assert (await get("/v3/kv/range"))[0] == 405
    assert (await get("/nothing"))[0] == 404
    await engine.raise_alarm()
    assert await get("/health") == (503, '{"health":"false"}')


async def test_a_token_comes_in_a_header(asking: Asking) -> None:
    await asking("auth/user/add", {"name": "root", "password": "x"})
    await asking("auth/user/grant", {"user": "root", "role": "root"})
    await asking("auth/enable", {})
    assert (await asking("kv/range", {"key": b64(b"a")}))[0] == 400
    assert (await asking("kv/range", {"key": b64(b"a")}, Authorization="wrong"))[0] == 401
    _, login = await asking("auth/authenticate", {"name": "root", "password": "x"})
    assert (await asking("kv/range", {"key": b64(b"a")}, Authorization=login["token"]))[0] == 200


async def test_grpc_is_answered_at_the_same_address(asking: Asking) -> None:
    await asking("kv/put", {"key": b64(b"a")})
    async with connected(asking.address) as client:
        assert (await client(services.RANGE, pb.RangeRequest(key=b"a"))).count == 1
