"""The server on real sockets: UDP, TCP, reconciling of listeners, and foreign names asked of real resolvers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from hawser.mesh.drivers.dns_server import DnsServer, Listener
from hawser.mesh.drivers.forward import Forwarder, ResolvConf
from hawser.mesh.model import Address, Instance
from hawser.mesh.resolvconf import Upstream
from tests.wait import auntil

from .support import addresses, ask, free_port, instance

ONE, TWO = ip_address("127.0.0.61"), ip_address("127.0.0.62")
SIX = ip_address("::1")
RECORDS = (
    instance(id="a", addresses=["10.0.0.11"]),
    instance(tenant="beta", id="b", addresses=["10.0.1.22"]),
    *(instance(service="big", id=f"i{number}", addresses=[f"10.9.0.{number + 1}"]) for number in range(200)),
)
WEB, BIG = "web.acme.mesh.internal", "big.acme.mesh.internal"


def lookup(tenant: str) -> tuple[Instance, ...]:
    return RECORDS


@contextlib.asynccontextmanager
async def serving(*listeners: Listener, forwarder: Forwarder | None = None) -> AsyncIterator[tuple[DnsServer, int]]:
    port = free_port("127.0.0.61")
    server = DnsServer(lookup, port=port, forwarder=forwarder or Forwarder(tuple))
    try:
        assert await server.set(listeners) == {}
        yield server, port
    finally:
        await server.close()


def asking(*upstreams: Upstream, timeout: float = 1.5, limit: int = 256) -> Forwarder:
    return Forwarder(lambda: upstreams, timeout=timeout, limit=limit)


def acme(*where: Address, forward: bool = False) -> Listener:
    return Listener(tenant="acme", addresses=where, forward=forward)


async def test_udp_and_tcp_on_ipv4_and_ipv6() -> None:
    async with serving(acme(ONE, SIX)) as (_, port):
        for host in (str(ONE), str(SIX)):
            for tcp in (False, True):
                assert addresses(await ask(host, port, WEB, tcp=tcp)) == ["10.0.0.11"]


async def test_each_listener_answers_for_its_tenant() -> None:
    async with serving(acme(ONE), Listener(tenant="beta", addresses=(TWO,))) as (_, port):
        assert addresses(await ask(str(ONE), port, WEB)) == ["10.0.0.11"]
        assert addresses(await ask(str(TWO), port, "web.beta.mesh.internal")) == ["10.0.1.22"]
        assert (await ask(str(TWO), port, WEB)).rcode() == dns.rcode.NXDOMAIN


async def test_what_does_not_fit_udp_is_asked_again_over_tcp() -> None:
    async with serving(acme(ONE)) as (_, port):
        query = dns.message.make_query(BIG, "A", use_edns=0, payload=4096)
        answer, used_tcp = await dns.asyncquery.udp_with_fallback(query, str(ONE), timeout=3, port=port)
        assert used_tcp
        assert len(addresses(answer)) == 200


async def test_many_queries_on_one_connection_in_pieces() -> None:
    async with serving(acme(ONE)) as (_, port):
        reader, writer = await asyncio.open_connection(str(ONE), port)
        queries = [dns.message.make_query(WEB if number % 2 else BIG, "A", id=number) for number in range(20)]
        stream = b"".join(len(query.to_wire()).to_bytes(2, "big") + query.to_wire() for query in queries)
        for start in range(0, len(stream), 7):
            writer.write(stream[start : start + 7])
        writer.write_eof()
        ids = set[int]()
        for _ in queries:
            length = int.from_bytes(await reader.readexactly(2), "big")
            ids.add(dns.message.from_wire(await reader.readexactly(length)).id)
        assert ids == set(range(20))
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("noise", [b"\0\0", b"\0\x04abcd", b"\0\x0c" + b"\0\0\x80" + b"\0" * 9])
async def test_noise_on_a_connection_ends_it_and_nothing_else(noise: bytes) -> None:
    async with serving(acme(ONE)) as (_, port):
        reader, writer = await asyncio.open_connection(str(ONE), port)
        writer.write(noise)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert addresses(await ask(str(ONE), port, WEB, tcp=True)) == ["10.0.0.11"]


async def test_noise_in_datagrams_does_no_harm() -> None:
    async with serving(acme(ONE)) as (_, port):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for data in (b"", b"\0", b"\xff" * 1400, b"\0" * 4096, b"\0" * 9000):
                sock.sendto(data, (str(ONE), port))
        assert addresses(await ask(str(ONE), port, WEB)) == ["10.0.0.11"]


async def test_set_opens_what_is_new_closes_what_is_gone_and_leaves_the_rest() -> None:
    async with serving(acme(ONE)) as (server, port):
        reader, writer = await asyncio.open_connection(str(ONE), port)
        assert await server.set([acme(ONE, TWO)]) == {}
        assert addresses(await ask(str(TWO), port, WEB)) == ["10.0.0.11"]
        query = dns.message.make_query(WEB, "A").to_wire()
        writer.write(len(query).to_bytes(2, "big") + query)
        assert len(await reader.readexactly(2)) == 2
        assert await server.set([acme(TWO)]) == {}
        await reader.read()
        writer.close()
        with pytest.raises(OSError):
            await asyncio.open_connection(str(ONE), port)
        assert addresses(await ask(str(TWO), port, WEB)) == ["10.0.0.11"]
        assert await server.set([Listener(tenant="beta", addresses=(TWO,))]) == {}
        assert (await ask(str(TWO), port, WEB)).rcode() == dns.rcode.NXDOMAIN


async def test_what_a_listener_hides_changes_at_once() -> None:
    async with serving(acme(ONE)) as (server, port):
        assert addresses(await ask(str(ONE), port, WEB)) == ["10.0.0.11"]
        assert await server.set([replace(acme(ONE), hidden=(ip_network("10.0.0.0/24"),))]) == {}
        for tcp in (False, True):
            assert not (await ask(str(ONE), port, WEB, tcp=tcp)).answer
        assert await server.set([acme(ONE)]) == {}
        assert addresses(await ask(str(ONE), port, WEB)) == ["10.0.0.11"]


async def test_an_address_that_somebody_has_is_reported_and_the_rest_is_served() -> None:
    port = free_port(str(ONE))
    server = DnsServer(lookup, port=port)
    with socket.socket() as other:
        other.bind((str(ONE), port))
        other.listen()
        failures = await server.set([acme(ONE, TWO)])
        assert list(failures) == [ONE]
        assert failures[ONE].startswith(f"port {port}: address already in use; another DNS server has it")
        assert addresses(await ask(str(TWO), port, WEB)) == ["10.0.0.11"]
    assert await server.set([acme(ONE, TWO)]) == {}
    assert addresses(await ask(str(ONE), port, WEB)) == ["10.0.0.11"]
    await server.close()


async def test_one_address_for_two_tenants_is_reported() -> None:
    async with serving() as (server, _):
        failures = await server.set([acme(ONE), Listener(tenant="beta", addresses=(ONE,))])
        assert failures == {ONE: "tenants acme and beta both want it"}


async def test_an_address_that_is_not_there_yet_can_be_listened_on() -> None:
    async with serving() as (server, _):
        far = [ip_address("203.0.113.9"), ip_address("2001:db8::9")]
        assert await server.set([acme(*far)]) == {}


class Resolver(asyncio.DatagramProtocol):
    """A resolver that answers every A query with 192.0.2.1, over UDP and TCP, or misbehaves as told."""

    def __init__(self, manner: str = "good") -> None:
        self.manner = manner
        self.asked: list[dns.message.Message] = []
        self.where: Upstream = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: object) -> None:
        for answer in self.answers(data):
            self.transport.sendto(answer, peer)  # type: ignore[attr-defined]

    def answers(self, data: bytes) -> list[bytes]:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        good = dns.message.make_response(query, recursion_available=True)
        good.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.1"))
        if self.manner == "silent":
            return []
        if self.manner == "failing":
            bad = dns.message.make_response(query)
            bad.set_rcode(dns.rcode.SERVFAIL)
            return [bad.to_wire()]
        if self.manner == "forged":
            other = dns.message.make_response(dns.message.make_query("evil.example", "A", id=query.id))
            wrong_id = bytes((data[0] ^ 1,)) + good.to_wire()[1:]
            return [b"", b"junk", wrong_id, other.to_wire(), data, good.to_wire()]
        return [good.to_wire()]


@contextlib.asynccontextmanager
async def resolver(manner: str = "good", host: str = "127.0.0.71") -> AsyncIterator[Resolver]:
    one = Resolver(manner)
    loop, port = asyncio.get_running_loop(), free_port(host)
    transport, _ = await loop.create_datagram_endpoint(lambda: one, (host, port))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        for answer in one.answers(data):
            writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    one.where = (host, port)
    async with server:
        yield one
    transport.close()


@pytest.mark.parametrize("tcp", [False, True])
async def test_foreign_names_are_asked_of_the_machines_resolvers(tcp: bool) -> None:
    async with resolver() as up, serving(acme(ONE, forward=True), forwarder=asking(up.where)) as (_, port):
        found = await ask(str(ONE), port, "ExAmple.com", tcp=tcp, use_edns=0)
        assert addresses(found) == ["192.0.2.1"]
        assert found.flags & dns.flags.RA
        assert not found.flags & dns.flags.AA
        assert up.asked[0].question[0].name.to_text() == "ExAmple.com."
        assert up.asked[0].edns == 0


async def test_our_own_names_and_bare_names_never_leave() -> None:
    async with resolver() as up, serving(acme(ONE, forward=True), forwarder=asking(up.where)) as (_, port):
        for name in (WEB, "nosuch.mesh.internal", "web.beta.mesh.internal", "mesh.internal", "web"):
            await ask(str(ONE), port, name)
        assert up.asked == []


async def test_ids_of_forwarded_queries_cannot_be_guessed() -> None:
    async with resolver() as up, serving(acme(ONE, forward=True), forwarder=asking(up.where)) as (_, port):
        for _ in range(8):
            assert (await ask(str(ONE), port, "example.com", id=7)).id == 7
        assert len({query.id for query in up.asked}) > 4


async def test_forged_answers_are_passed_over() -> None:
    async with resolver("forged") as up, serving(acme(ONE, forward=True), forwarder=asking(up.where)) as (_, port):
        assert addresses(await ask(str(ONE), port, "example.com")) == ["192.0.2.1"]


@pytest.mark.parametrize("manner", ["failing", "silent", "absent"])
@pytest.mark.parametrize("tcp", [False, True])
async def test_the_next_resolver_is_asked_when_one_does_not_serve(manner: str, tcp: bool) -> None:
    async with resolver(manner) as bad, resolver(host="127.0.0.72") as good:
        first = ("127.0.0.73", free_port("127.0.0.73")) if manner == "absent" else bad.where
        forwarder = asking(first, good.where, timeout=0.1)
        async with serving(acme(ONE, forward=True), forwarder=forwarder) as (_, port):
            assert addresses(await ask(str(ONE), port, "example.com", tcp=tcp)) == ["192.0.2.1"]
            assert forwarder.outstanding() == 0


async def test_without_a_resolver_that_answers_it_is_a_server_failure() -> None:
    async with resolver("silent") as up:
        async with serving(acme(ONE, forward=True), forwarder=asking(up.where, timeout=0.05)) as (_, port):
            assert (await ask(str(ONE), port, "example.com")).rcode() == dns.rcode.SERVFAIL
        assert len(up.asked) == 2
    async with serving(acme(ONE, forward=True)) as (_, port):
        assert (await ask(str(ONE), port, "example.com", tcp=True)).rcode() == dns.rcode.SERVFAIL


async def test_a_resolver_that_is_ourselves_is_not_asked() -> None:
    async with serving(acme(ONE, forward=True), forwarder=asking((str(ONE), 53))) as (_, port):
        assert (await ask(str(ONE), port, "example.com")).rcode() == dns.rcode.SERVFAIL


async def test_questions_under_way_are_bounded() -> None:
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(resolver("silent"))
        forwarder = asking(up.where, limit=3)
        _, port = await stack.enter_async_context(serving(acme(ONE, forward=True), forwarder=forwarder))
        query = dns.message.make_query("example.com", "A").to_wire()
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for _ in range(3):
                sock.sendto(query, (str(ONE), port))
            await auntil(lambda: forwarder.outstanding() == 3)
            assert (await ask(str(ONE), port, "example.com")).rcode() == dns.rcode.SERVFAIL
        assert addresses(await ask(str(ONE), port, WEB)) == ["10.0.0.11"]


def test_resolv_conf_is_read_again_when_it_changed(rundir: Path) -> None:
    path = rundir / "resolv.conf"
    conf = ResolvConf(path)
    assert conf() == ()
    path.write_text("nameserver 10.0.0.1\n")
    assert conf() == (("10.0.0.1", 53),)
    (rundir / "new").write_text("nameserver 10.0.0.2\n")
    (rundir / "new").rename(path)
    assert conf() == (("10.0.0.2", 53),)
