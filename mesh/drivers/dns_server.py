"""The DNS server's sockets: one UDP and one TCP socket for each address, so an answer comes from the address asked.

`set` brings the sockets to the listeners given: it opens what is new, closes what is gone, and leaves the rest alone,
queries under way included. Addresses may be ones that are not there yet, or not yet usable (IPv6 while it is checked
for duplicates): the sockets are opened with IP_FREEBIND (ip(7)). Datagrams are read many at a time straight from the
socket; TCP connections are protocols; nothing here is a task.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence

from ..dns import Lookup, Responder, Verdict
from ..model import Address
from ..zone import Listener
from .forward import Forwarder, ResolvConf

__all__ = ["DnsServer", "Listener"]

Send = Callable[[bytes | None], None]
Peer = tuple[str | int, ...]
# makes a socket of a family and kind in a place (a network namespace; "" is this one)
Make = Callable[[str, int, int], socket.socket]
IP_FREEBIND, IPV6_FREEBIND = 15, 78
BURST = 64
DATAGRAM_MAX = 4096
STREAMS_MAX = 256
IDLE = 10.0
WORDS = {
    errno.EADDRINUSE: "another DNS server has it; stop that one, or let it leave this address alone",
    errno.EACCES: "no right to bind the port; run as root or with CAP_NET_BIND_SERVICE",
    errno.EPERM: "no right to bind the port; run as root or with CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine does not have the address",
}


def _here(place: str, family: int, kind: int) -> socket.socket:
    return socket.socket(family, kind)


class DnsServer:
    """Answers every listener for its tenant; `lookup(tenant)` gives the instances (see `dns.Responder`)."""

    def __init__(
        self, lookup: Lookup, *, port: int = 53, forwarder: Forwarder | None = None, make: Make = _here
    ) -> None:
        """`forwarder` asks others for foreign names, by default the resolvers of /etc/resolv.conf; `make` makes a
        listener's sockets where its address is, by default here."""
        self._make = make
        self._lookup = lookup
        self._port = port
        self._forwarder = forwarder or Forwarder(ResolvConf())
        self._doors: dict[tuple[str, Address], _Door] = {}

    async def set(self, listeners: Sequence[Listener]) -> dict[Address, str]:
        """Listen exactly there; returns the addresses where that failed, with the reason. Call it again to retry."""
        failures = dict[Address, str]()
        wanted = dict[tuple[str, Address], Listener]()
        for listener in listeners:
            for address in listener.addresses:
                first = wanted.setdefault((listener.place, address), listener)
                if first.tenant != listener.tenant:
                    failures[address] = f"tenants {first.tenant} and {listener.tenant} both want it"
        for where in [where for where in self._doors if where not in wanted]:
            await self._doors.pop(where).close()
        for (place, address), listener in wanted.items():
            door = self._doors.get((place, address))
            if door is not None:
                door.serve(listener)
                continue
            try:
                self._doors[place, address] = await self._open(address, listener)
            except OSError as error:
                failures[address] = _words(error, self._port)
        return failures

    async def close(self) -> None:
        """Close every socket; answers under way are lost."""
        self._forwarder.close()
        for door in self._doors.values():
            await door.close()
        self._doors = {}

    async def _open(self, address: Address, listener: Listener) -> "_Door":
        door = _Door(address, Responder(listener, self._lookup), self, self._make)
        try:
            await door.open(self._port)
        except OSError:
            await door.close()
            raise
        return door

    def responder(self, listener: Listener) -> Responder:
        """A new responder."""
        return Responder(listener, self._lookup)

    def forward(self, data: bytes, door: "_Door", *, tcp: bool, send: Send) -> None:
        """Ask the resolvers; the client gets their answer or SERVFAIL."""
        responder = door.responder

        def reply(answer: bytes | None) -> None:
            send(answer if answer is not None else responder.failure(data))

        skip = frozenset(str(address) for place, address in self._doors if not place)
        self._forwarder.ask(data, tcp=tcp, skip=skip, reply=reply)


class _Door:
    """The two sockets of one address."""

    def __init__(self, address: Address, responder: Responder, server: DnsServer, make: Make) -> None:
        self._make = make
        self.responder = responder
        self.streams: set[_Stream] = set()
        self.turn = 0
        self._address = address
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._udp: socket.socket | None = None
        self._tcp: asyncio.Server | None = None

    async def open(self, port: int) -> None:
        """Bind both. OSError."""
        self._udp = self._bind(socket.SOCK_DGRAM, port)
        listening = self._bind(socket.SOCK_STREAM, port)
        try:
            listening.listen(128)
            self._tcp = await self._loop.create_server(lambda: _Stream(self), sock=listening)
        except OSError:
            listening.close()
            raise
        self._loop.add_reader(self._udp, self._drain)

    def serve(self, listener: Listener) -> None:
        """From now on answer for `listener`."""
        if listener != self.responder.listener:
            self.responder = self._server.responder(listener)

    async def close(self) -> None:
        """Close both and every connection."""
        if self._udp is not None:
            self._loop.remove_reader(self._udp)
            self._udp.close()
            self._udp = None
        if self._tcp is not None:
            self._tcp.close()
        for stream in list(self.streams):
            stream.abort()
        if self._tcp is not None:
            await self._tcp.wait_closed()

    def answer(self, data: bytes, *, tcp: bool, send: Send) -> None:
        """Answer one message through `send`, now or later; None is no answer."""
        self.turn += 1
        answer = self.responder.respond(data, tcp=tcp, turn=self.turn)
        if isinstance(answer, bytes):
            send(answer)
        elif answer is Verdict.FORWARD:
            self._server.forward(data, self, tcp=tcp, send=send)
        else:
            send(None)

    def _bind(self, kind: int, port: int) -> socket.socket:
        family = socket.AF_INET if self._address.version == 4 else socket.AF_INET6
        sock = self._make(self.responder.listener.place, family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((str(self._address), port))
        except OSError:
            sock.close()
            raise
        return sock

    def _drain(self) -> None:
        for _ in range(BURST):
            if self._udp is None:
                return
            try:
                data, peer = self._udp.recvfrom(DATAGRAM_MAX)
            except OSError:
                return
            self.turn += 1
            answer = self.responder.respond(data, turn=self.turn)
            if isinstance(answer, bytes):
                self._send(answer, peer)
            elif answer is Verdict.FORWARD:
                self._server.forward(data, self, tcp=False, send=self._sender(peer))

    def _sender(self, peer: Peer) -> Send:
        def send(answer: bytes | None) -> None:
            if answer is not None:
                self._send(answer, peer)

        return send

    def _send(self, answer: bytes, peer: Peer) -> None:
        if self._udp is None:
            return
        try:
            self._udp.sendto(answer, peer)
        except OSError:
            return  # a full buffer or a client that went away: as if the network had lost it


class _Stream(asyncio.Protocol):
    """One TCP connection: messages with a length of two bytes in front (RFC 7766), answered as answers come."""

    def __init__(self, door: _Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._pending = 0
        self._ended = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._door.streams.add(self)
        self._rest()
        if len(self._door.streams) > STREAMS_MAX:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._rest()
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[2:end])
            del self._buffer[:end]
            self._pending += 1
            self._door.answer(message, tcp=True, send=self._send)

    def eof_received(self) -> bool:
        self._ended = True
        return self._pending > 0

    def connection_lost(self, error: Exception | None) -> None:
        self._door.streams.discard(self)
        self._transport = None
        if self._idle is not None:
            self._idle.cancel()

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE, self.abort)

    def _send(self, answer: bytes | None) -> None:
        self._pending -= 1
        if self._transport is None or self._transport.is_closing():
            return
        if answer is None:
            self._transport.abort()
            return
        self._transport.write(len(answer).to_bytes(2, "big") + answer)
        if self._ended and not self._pending:
            self._transport.close()


def _words(error: OSError, port: int) -> str:
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"port {port}: {why}" + (f"; {WORDS[error.errno]}" if error.errno in WORDS else "")
