"""TLS with client certificates, unix sockets, and the ways to begin and end."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.errors import Unavailable
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Settings, Tls, serve, serving

from .authority import Authority
from .servers import Client, connected, refused


def channel(authority: Authority, port: int, who: str | None) -> grpc.aio.Channel:
    key = certificate = None
    if who is not None:
        certificate, key = (path.read_bytes() for path in authority.issue(who))
    credentials = grpc.ssl_channel_credentials(authority.pem, key, certificate)
    return grpc.aio.secure_channel(f"localhost:{port}", credentials)


async def test_a_certificate_says_who_asks(authority: Authority, engine: MemoryEngine) -> None:
    tls = Tls(*authority.issue("server"), authority.directory / "ca.pem")
    settings = Settings(certificates=True)
    async with serving(engine, ["localhost:0"], tls=tls, settings=settings, grace=0.2) as served:
        async with channel(authority, served.ports[0], "root") as opened:
            root = Client(opened)
            await root(services.USER_ADD, pb.AuthUserAddRequest(name="root", options={"no_password": True}))
            await root(services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="root", role="root"))
            await root(services.AUTH_ENABLE, pb.Empty())
            await root(services.PUT, pb.PutRequest(key=b"a"))
        async with channel(authority, served.ports[0], "amy") as opened:
            denied = (7, "etcdserver: permission denied")
            assert await refused(Client(opened)(services.PUT, pb.PutRequest(key=b"a"))) == denied


async def test_who_has_no_certificate_does_not_get_in(authority: Authority, engine: MemoryEngine) -> None:
    tls = Tls(*authority.issue("server"), authority.directory / "ca.pem")
    async with serving(engine, ["localhost:0"], tls=tls, grace=0.2) as served:
        async with channel(authority, served.ports[0], None) as opened:
            code, _ = await refused(Client(opened)(services.PUT, pb.PutRequest(key=b"a"), wait=2))
        assert code in (4, 14)
        async with connected(f"127.0.0.1:{served.ports[0]}") as plain:
            code, _ = await refused(plain(services.PUT, pb.PutRequest(key=b"a"), wait=2))
        assert code in (4, 14)


async def test_a_new_certificate_is_shown_to_who_comes_next(authority: Authority, engine: MemoryEngine) -> None:
    certificate, key = authority.issue("server")
    async with serving(engine, ["localhost:0"], tls=Tls(certificate, key), grace=0.2) as served:

        async def shown() -> Any:
            context = ssl.create_default_context(cadata=authority.pem.decode())
            _, writer = await asyncio.open_connection("localhost", served.ports[0], ssl=context)
            serial = writer.get_extra_info("peercert")["serialNumber"]
            writer.close()
            return serial

        before = await shown()
        authority.issue("server")
        assert await shown() == before
        served.reload()
        assert await shown() != before


async def test_a_unix_socket_and_a_port_at_once(rundir: Path, engine: MemoryEngine) -> None:
    addresses = [f"unix:{rundir}/kv.sock", "127.0.0.1:0"]
    async with serving(engine, addresses, grace=0.2) as served:
        assert served.addresses[0] == addresses[0]
        assert len(served.ports) == 1
        for address in served.addresses:
            async with connected(address) as client:
                await client(services.PUT, pb.PutRequest(key=b"a"))
    assert engine.revision == 3


async def test_what_cannot_be_listened_on(rundir: Path, engine: MemoryEngine) -> None:
    async with serving(engine, ["127.0.0.1:0"], grace=0.2) as served:
        with pytest.raises(Unavailable, match=served.addresses[0]):
            await serve(engine, list(served.addresses))
    (rundir / "bad.pem").write_text("nothing")
    with pytest.raises(Unavailable, match=r"bad\.pem"):
        await serve(engine, ["127.0.0.1:0"], tls=Tls(rundir / "bad.pem", rundir / "bad.pem"))
