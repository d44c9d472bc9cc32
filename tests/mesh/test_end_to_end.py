"""Announce, be checked, be found by name; be withdrawn, be gone."""

from ipaddress import ip_address

import dns.rcode

from hawser.mesh.drivers.dns_server import DnsServer, Listener
from hawser.store import MemoryStore
from tests.wait import auntil

from .support import addresses, announcement, ask, free_port, new_mesh, running, web


async def test_an_announced_service_is_found_by_name_while_it_is_healthy() -> None:
    gateway, port = ip_address("127.0.0.53"), free_port("127.0.0.53")
    async with web() as server, running(new_mesh(MemoryStore())) as mesh:
        names = DnsServer(mesh.instances, port=port)
        assert await names.set([Listener(tenant="acme", addresses=(gateway,))]) == {}
        await mesh.announce(announcement(port=server.port, check="http:/health"))
        await auntil(lambda: mesh.instances("acme", "web")[0].healthy)
        found = await ask(str(gateway), port, "web.acme.mesh.internal")
        assert addresses(found) == ["127.0.0.9"]
        assert server.requests[0].startswith(b"GET /health HTTP/1.1\r\n")
        await mesh.withdraw("acme", "web", "1")
        gone = await ask(str(gateway), port, "web.acme.mesh.internal")
        assert gone.rcode() == dns.rcode.NXDOMAIN
        await names.close()
