"""Checksum offload of an interface (ethtool(8), the SIOCETHTOOL ioctl in linux/ethtool.h).

A veth leaves checksums to whoever receives, who is trusted to be the same kernel. Open vSwitch's datapath in user space
reads frames as they are and forwards them with half a checksum, and the receiver drops them. So what a container sends
must be summed where it is sent: on its own end of the pair. Segmentation offload goes with it.
"""

import array
import errno
import fcntl
import socket
import struct

from ...errors import Denied, NetError, NotFound

SIOCETHTOOL = 0x8946
ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM = 0x16, 0x17


def tx_checksums(ifname: str) -> bool:
    """Whether sums are left to the receiver; of the calling thread's namespace. NotFound, NetError."""
    return bool(_ethtool(ifname, ETHTOOL_GTXCSUM, 0))


def sum_before_sending(ifname: str) -> None:
    """Turn the offload off, in the calling thread's namespace; can be done twice. NotFound, Denied, NetError."""
    if tx_checksums(ifname):
        _ethtool(ifname, ETHTOOL_STXCSUM, 0)


def _ethtool(ifname: str, command: int, value: int) -> int:
    """struct ethtool_value behind struct ifreq."""
    words = array.array("I", [command, value])
    request = struct.pack("16sP16x", ifname.encode(), words.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, request)
        except OSError as error:
            text = f"checksum offload of {ifname}: {error.strerror}"
            if error.errno == errno.ENODEV:
                raise NotFound(text) from error
            if error.errno == errno.EPERM:
                raise Denied(f"{text}; run as root") from error
            raise NetError(text) from error
    return words[1]
