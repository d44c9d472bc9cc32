"""A node that keeps attachments in memory and nothing else: the API's contract, on a unix socket, in a thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from hawser.faults import HTTP

Document = dict[str, Any]
FIELDS = {
    *("sandbox", "owner", "netns", "ifname", "tenant", "network", "addresses", "publish", "labels", "mac", "qos"),
    "context",
}
NETWORKS = {
    "blue/web": ("10.0.0.{}/24", "fd00::{}/64"),
    "blue/db": ("10.0.1.{}/24",),
    "default/plain": ("10.0.2.{}/24",),
    "blue/full": (),
}


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class FakeNode:
    """What it has and was asked; `failures` is what it says of itself, `stuck` what it cannot remove."""

    socket: Path
    attachments: dict[tuple[str, str], Document] = field(default_factory=dict)
    asked: list[Document] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stuck: set[str] = field(default_factory=set)
    mute: bool = False

    def names(self) -> set[tuple[str, str]]:
        """CNI network and interface of each attachment."""
        return {(one["context"]["network"], one["ifname"]) for one in self.attachments.values()}

    async def attach(self, request: web.Request) -> Any:
        wanted = await request.json()
        self.asked.append(wanted)
        assert set(wanted) == FIELDS
        if self.mute:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(60)
        key, network = (wanted["sandbox"], wanted["ifname"]), f"{wanted['tenant']}/{wanted['network']}"
        if network not in NETWORKS:
            raise Refused("not-found", f"network {network} does not exist")
        if not NETWORKS[network]:
            raise Refused("unavailable", f"network {network} has no free address")
        if key in self.attachments:
            raise Refused("conflict", f"{wanted['netns']} has an interface {wanted['ifname']}")
        number = len(self.attachments) + 2
        addresses = [form.format(number) for form in NETWORKS[network]]
        gateways = [form.format(1).partition("/")[0] for form in NETWORKS[network]]
        made = {name: value for name, value in wanted.items() if name != "netns"} | {
            "addresses": addresses,
            "gateways": gateways,
            "routes": gateways if wanted["ifname"] == "eth0" else [],
            "mac": wanted["mac"] or f"02:00:00:00:00:{number:02x}",
            "mtu": 1450,
            "trouble": "",
        }
        self.attachments[key] = made
        return made

    async def listing(self, request: web.Request) -> Any:
        query = request.query
        return [one for one in self.attachments.values() if all(one[key] == value for key, value in query.items())]

    async def detach(self, request: web.Request) -> Any:
        key = (request.match_info["sandbox"], request.match_info["ifname"])
        one, query = self.attachments.get(key), request.query
        if one is None or one["owner"] != query["owner"] or one["context"]["network"] != query["network"]:
            raise Refused("not-found", f"{key[0]} has no interface {key[1]}")
        del self.attachments[key]
        return {}

    async def ready(self, request: web.Request) -> Any:
        network = f"{request.query['tenant']}/{request.query['network']}"
        if network not in NETWORKS:
            raise Refused("not-found", f"network {network} does not exist")
        return {"failures": self.failures}

    async def collect(self, request: web.Request) -> Any:
        wanted = await request.json()
        keep = {(one["sandbox"], one["ifname"]) for one in wanted["keep"]}
        gone = [
            key
            for key, one in self.attachments.items()
            if (one["owner"], one["context"]["network"]) == (wanted["owner"], wanted["network"]) and key not in keep
        ]
        failures = [f"{ifname} is busy" for _, ifname in gone if ifname in self.stuck]
        for key in gone:
            if key[1] not in self.stuck:
                del self.attachments[key]
        return {"removed": [], "failures": failures}

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application()
        app.router.add_post("/v1/attachments", answering(self.attach))
        app.router.add_get("/v1/attachments", answering(self.listing))
        app.router.add_get("/v1/attachments/ready", answering(self.ready))
        app.router.add_post("/v1/attachments/gc", answering(self.collect))
        app.router.add_delete("/v1/attachments/{sandbox}/{ifname}", answering(self.detach))
        return app


def answering(act: Callable[[web.Request], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler of what an act returns or refuses."""

    async def handler(request: web.Request) -> web.Response:
        try:
            return web.json_response(await act(request))
        except Refused as error:
            fault = {"kind": error.kind, "message": str(error), "code": None}
            return web.json_response({"error": fault}, status=HTTP[error.kind])

    return handler


@contextmanager
def running(node: FakeNode) -> Iterator[FakeNode]:
    """Serve for the duration of the context."""
    loop, up = asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(node.application(), shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.UnixSite(runner, str(node.socket)).start()
        up.set()
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert up.wait(10)
        yield node
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
