"""A link's counters (rtnl_link_stats64 in linux/if_link.h), and as the port behind it sees them."""

import struct
from dataclasses import dataclass

STATS64 = 23
LAYOUT = struct.Struct("=8Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Since the link was made; received is what came to the port. `dropped` was meant for the port, or sent by it, and
    was lost at its link."""

    receive_packets: int = 0
    receive_bytes: int = 0
    receive_errors: int = 0
    receive_dropped: int = 0
    transmit_packets: int = 0
    transmit_bytes: int = 0
    transmit_errors: int = 0
    transmit_dropped: int = 0


def of_port(stats: bytes) -> Counters:
    """The counters of the port whose host end has these (IFLA_STATS64): what the host end sends, the port receives."""
    rx, tx, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped = LAYOUT.unpack_from(stats)
    return Counters(
        receive_packets=tx,
        receive_bytes=tx_bytes,
        receive_errors=tx_errors,
        receive_dropped=tx_dropped,
        transmit_packets=rx,
        transmit_bytes=rx_bytes,
        transmit_errors=rx_errors,
        transmit_dropped=rx_dropped,
    )
