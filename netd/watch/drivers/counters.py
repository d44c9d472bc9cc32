"""Counters of host ends of ports: one dump of the links of the calling thread's namespace."""

from collections.abc import Collection

from ...drivers import wire
from ...qos.drivers.rtnl import Rtnl
from ..stats import STATS64, Counters, of_port


def read(ifnames: Collection[str], rtnl: Rtnl | None = None) -> dict[str, Counters]:
    """Counters by the name of the host end, as the ports see them; of links that are not there, nothing.

    `rtnl` is a socket of another namespace; without, one of the calling thread's is made. NetError.
    """
    socket = rtnl or Rtnl()
    try:
        found: dict[str, Counters] = {}
        for payload in socket.links():
            attrs = wire.attributes(payload, 16)
            name = attrs.get(3, b"").rstrip(b"\0").decode(errors="replace")
            if name in ifnames and STATS64 in attrs:
                found[name] = of_port(attrs[STATS64])
        return found
    finally:
        if rtnl is None:
            socket.close()
