"""The words of the pipeline: its tables, registers and flags, and what a cookie says (docs/ovs-pipeline.md).

A packet goes up through the tables only. The registers hold what was found out about it: `NETWORK` is the VNI of the
network it is on now, routing changes it; `ZONE` is its tenant's, for conntrack and wherever addresses are looked at.
"""

import hashlib
from enum import IntEnum, IntFlag


class Table(IntEnum):
    """The tables, in the order in which packets meet them."""

    CLASSIFY = 0
    TUNNEL = 2
    GATEWAY = 4
    GATEWAY_JOINED = 5
    GATEWAY_SOURCE = 6
    SECURITY = 10
    ARP = 12
    DISPATCH = 14
    ND_SECURITY = 16
    SPOOFED = 18
    DISCOVERY = 20
    ROUTE = 30
    JOINED = 32
    NEIGHBOUR = 34
    TO_GATEWAY = 36
    DELIVER = 40
    TRACK = 50
    STATE = 52
    SOURCE = 54
    TARGET = 56
    EGRESS = 58
    INGRESS = 60
    COMMIT = 62
    OUTPUT = 70


class Flag(IntFlag):
    """Bits of the register `FLAGS`.

    EGRESS: the source's policies are to be asked; INGRESS: the target's; TRACK: one end is isolated in some direction;
    DISCOVERY: neighbour discovery that was checked; TUNNEL, GATEWAY: where it came from; ENCRYPTED: through a tunnel
    inside the encrypted overlay; ROUTED: by a static route.
    """

    EGRESS = 1
    INGRESS = 2
    TRACK = 4
    DISCOVERY = 8
    TUNNEL = 16
    GATEWAY = 32
    ENCRYPTED = 64
    ROUTED = 128


NETWORK, PORT, OUT, FLAGS, ZONE = "reg1", "reg2", "reg3", "reg4", "reg5"
SOURCE_ID, TARGET_ID = ("reg6", "reg7"), ("reg8", "reg9")
FAR = "reg10"
ZONE_BITS = "NXM_NX_REG5[0..15]"
MULTICAST = "01:00:00:00:00:00/01:00:00:00:00:00"


class Kind(IntEnum):
    """What a cookie's object is: `PORT` by its key, `NETWORK` by its, `RULE` by `tenant/policy/index`, `POLICIES` and
    `IDENTITY` by tenant, `BASE` the pipeline itself."""

    BASE = 0
    NETWORK = 1
    PORT = 2
    POLICIES = 3
    RULE = 4


def has(flags: Flag) -> tuple[int, int]:
    """Value and mask: all of these flags are set."""
    return int(flags), int(flags)


def lacks(flags: Flag) -> tuple[int, int]:
    """Value and mask: none of these flags is set."""
    return 0, int(flags)


def put(register: str, value: int) -> str:
    """The action that sets a register."""
    return f"set_field:{value:#x}->{register}"


def raise_flags(flags: Flag) -> list[str]:
    """The actions that set flags, in the notation of a dump."""
    return [f"load:0x1->NXM_NX_REG4[{int(flag).bit_length() - 1}]" for flag in Flag if flag in flags]


def goto(table: Table) -> str:
    """The action that goes on to a table."""
    return f"goto_table:{int(table)}"


def then(*actions: str | Table) -> str:
    """Actions one after the other; a table goes on there. None drops."""
    return ",".join(goto(each) if isinstance(each, Table) else each for each in actions if each != "") or "drop"


def instance_hash(instance: str) -> int:
    """The 32 bits that mark a node's flows; never 0."""
    return int.from_bytes(hashlib.sha256(f"flows/{instance}".encode()).digest()[:4], "big") or 1


def cookie_of(instance: int, kind: Kind, key: str = "") -> int:
    """Instance in the high 32 bits, in the low ones 3 bits of kind and 29 of the key's hash (0 for none)."""
    low = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") & 0x1FFFFFFF if key else 0
    return instance << 32 | int(kind) << 29 | low
