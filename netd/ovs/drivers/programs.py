"""Where Open vSwitch's programs and its schema are, and whether the kernel has its datapath.

They are Debian's, installed or only unpacked somewhere: from `ovs-ofctl` on the PATH the others are found beside it, so
that an unpacked tree needs one entry. Nothing is started here.
"""

import os
import shutil
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from ...errors import Unavailable

# a server's place is often not on a user's PATH (hier(7))
SBIN = "/usr/local/sbin:/usr/sbin"
PLACES = ("bin", "sbin", "lib/openvswitch-switch", "share/openvswitch")
NETLINK_GENERIC, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME = 16, 16, 3, 2
NLM_F_REQUEST, NLMSG_ERROR = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Absolute paths."""

    vswitchd: Path
    ovsdb_server: Path
    ovsdb_tool: Path
    ofctl: Path
    schema: Path


def find() -> Programs:
    """The programs. Unavailable, when one is missing, with what to do."""
    return Programs(
        vswitchd=_find("ovs-vswitchd"),
        ovsdb_server=_find("ovsdb-server"),
        ovsdb_tool=_find("ovsdb-tool"),
        ofctl=_find("ovs-ofctl"),
        schema=_find("vswitch.ovsschema"),
    )


def _find(name: str) -> Path:
    anchor = shutil.which("ovs-ofctl")
    if anchor:
        for root in (Path(anchor).parent.parent, Path(anchor).resolve().parent.parent):
            for place in PLACES:
                if (path := root / place / name).exists():
                    return path
    if other := shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SBIN}"):
        return Path(other)
    raise Unavailable(f"Open vSwitch's {name} not found; apt-get install openvswitch-switch")


def kernel_datapath() -> bool:
    """Whether the kernel has Open vSwitch's datapath: its generic netlink family (it loads the module when asked)."""
    name = b"ovs_datapath\0"
    attribute = struct.pack("HH", 4 + len(name), CTRL_ATTR_FAMILY_NAME) + name.ljust(-(-len(name) // 4) * 4, b"\0")
    body = struct.pack("BBxx", CTRL_CMD_GETFAMILY, 1) + attribute
    request = struct.pack("IHHII", 16 + len(body), GENL_ID_CTRL, NLM_F_REQUEST, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC) as sock:
            sock.settimeout(5)
            sock.send(request)
            answer = sock.recv(8192)
    except OSError:
        return False
    return bool(struct.unpack_from("H", answer, 4)[0] != NLMSG_ERROR)
