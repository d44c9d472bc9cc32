"""TLS to a real etcd: who is believed, and what is said when somebody is not."""

import asyncio
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hawser.store import Invalid, Unavailable
from hawser.store.etcd.client import Tls, connect
from tests.etcd import Member, member, needs_etcd

from .certificates import Authority

pytestmark = needs_etcd
TRANSPORTS = ("grpc", "gateway")


@dataclass
class World:
    """An authority, and servers that demand a certificate of clients."""

    directory: Path
    authority: Authority
    good: Member
    expired: Member
    elsewhere: Member
    tls: Tls


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hw-tls-") as name:
        directory = Path(name)
        authority = Authority(directory)

        def options(who: str, dns: str | None = None, days: int = 1) -> list[str]:
            cert, key = authority.issue(who, dns=dns, days=days)
            return [
                f"--cert-file={cert}",
                f"--key-file={key}",
                f"--trusted-ca-file={authority.ca}",
                "--client-cert-auth",
            ]

        cert, key = authority.issue("client")
        tls = Tls(ca=authority.ca, cert=cert, key=key)
        with (
            member(*options("good"), scheme="https") as good,
            member(*options("expired", days=-1), scheme="https") as expired,
            member(*options("elsewhere", dns="etcd.example"), scheme="https") as elsewhere,
        ):
            yield World(directory, authority, good, expired, elsewhere, tls)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_certificates_are_files_or_pem(world: World, transport: str) -> None:
    tls = world.tls
    assert isinstance(tls.ca, Path)
    assert isinstance(tls.cert, Path)
    assert isinstance(tls.key, Path)
    pem = Tls(ca=tls.ca.read_bytes(), cert=tls.cert.read_bytes(), key=tls.key.read_bytes())
    for each in (tls, pem):
        async with connect(world.good.url, tls=each, transport=transport) as store, store.watch(b"a") as batches:
            revision = await store.put(b"a", b"")
            assert (await asyncio.wait_for(anext(batches), 5)).revision == revision


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_may_have_another_name(world: World, transport: str) -> None:
    tls = world.tls
    async with connect(world.elsewhere.url, tls=tls, transport=transport, timeout=30) as store, asyncio.timeout(3):
        with pytest.raises(Unavailable, match=r"127.0.0.1.*its certificate is not accepted"):
            await store.get(b"a")
    named = Tls(ca=tls.ca, cert=tls.cert, key=tls.key, server_name="etcd.example")
    async with connect(world.elsewhere.url, tls=named, transport=transport) as store:
        assert await store.put(b"a", b"") > 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_expired_certificate_is_told_at_once_in_one_line(world: World, transport: str) -> None:
    async with connect(world.expired.url, tls=world.tls, transport=transport, timeout=30) as store:
        async with asyncio.timeout(3):
            with pytest.raises(Unavailable) as caught:
                await store.put(b"a", b"")
    why = "its certificate is not accepted: certificate has expired"
    assert str(caught.value) == f"etcd cannot be talked to at {world.expired.url} ({why})"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_another_authority_is_told_at_once_in_one_line(world: World, transport: str) -> None:
    other = Authority(world.directory, f"other-{transport}")
    tls = Tls(ca=other.ca, cert=world.tls.cert, key=world.tls.key)
    async with connect(world.good.url, tls=tls, transport=transport, timeout=30) as store:
        async with asyncio.timeout(3):
            with pytest.raises(Unavailable, match=r"its certificate is not accepted: .*issuer certificate"):
                await store.get(b"a")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_is_not_believed_is_told_in_one_line(world: World, transport: str) -> None:
    cert, key = Authority(world.directory, f"forger-{transport}").issue(f"forged-{transport}")
    for tls in (Tls(ca=world.tls.ca), Tls(ca=world.tls.ca, cert=cert, key=key)):
        async with connect(world.good.url, tls=tls, transport=transport, timeout=30) as store, asyncio.timeout(3):
            with pytest.raises(Unavailable) as caught:
                await store.put(b"a", b"")
            why = "it does not accept this client's certificate, or the lack of one"
            assert str(caught.value) == f"etcd cannot be talked to at {world.good.url} ({why})"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_plain_words_to_a_tls_port_are_told_in_one_line(world: World, transport: str) -> None:
    plain = world.good.url.replace("https", "http")
    async with connect(plain, transport=transport, timeout=0.3) as store:
        with pytest.raises(Unavailable, match=rf"^etcd does not answer at {plain} \(.+\); is it running\?$"):
            await store.get(b"a")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_files_that_are_no_certificates_are_told_before_anything_is_sent(world: World, transport: str) -> None:
    garbage = world.directory / "garbage.pem"
    garbage.write_bytes(b"garbage")
    good, missing = world.tls, world.directory / "missing.pem"
    for tls, says in (
        (Tls(ca=missing), f"cannot read the certificate or key {missing}: No such file"),
        (Tls(ca=garbage), f"the CA of etcd in {garbage} is no certificate"),
        (Tls(ca=b"garbage"), "the CA of etcd is no certificate"),
        (Tls(ca=good.ca, cert=good.cert), "needs its key"),
        (Tls(ca=good.ca, cert=garbage, key=good.key), "no certificate and key in PEM"),
        (Tls(ca=good.ca, cert=good.cert, key=world.authority.issue("x")[1]), "the key is not the certificate's"),
    ):
        with pytest.raises(Invalid, match=re.escape(says)):
            async with connect(world.good.url, tls=tls, transport=transport):
                pass
