"""Meters: what a port may send a second, dropped beyond it (OpenFlow 1.3 §5.7); a meter has its port's number."""

from collections.abc import Mapping

from ..fabric import Fabric
from .scope import Ofports

# a tenth of a second's worth, and never less than a few frames: kbit
BURST_SHARE, BURST_MIN = 10, 256


def meters(fabric: Fabric, machine: str, ofports: Ofports) -> Mapping[int, str]:
    """The machine's meters by number, each a line for `ovs-ofctl -O OpenFlow13 add-meter`. They are to be there before
    the flows that use them."""
    found = {}
    for port in fabric.at(machine).values():
        number = ofports.ports.get(port.id)
        if number is not None and port.qos.egress is not None and not port.leaving:
            found[number] = meter(number, port.qos.egress)
    return dict(sorted(found.items()))


def meter(number: int, rate: int) -> str:
    """One meter's line, for a rate in bit/s."""
    kbit = max(1, rate // 1000)
    burst = max(BURST_MIN, kbit // BURST_SHARE)
    return f"meter={number},kbps,burst,bands=type=drop,rate={kbit},burst_size={burst}"
