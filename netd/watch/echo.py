"""ICMP and ICMPv6 echo requests, and their answers told from others' (RFC 792, RFC 4443).

Sixteen bits of sequence number are few for a mesh, so that what identifies a request is its payload, which an answer
repeats: a mark of this run, the target's number and the round.
"""

import struct

BODY = struct.Struct("!8sIIQ")
HEAD = struct.Struct("!BBHHH")
REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}


def request(version: int, mark: bytes, target: int, number: int) -> bytes:
    """A request; `mark` has 8 bytes. The kernel writes the checksum of ICMPv6 itself (RFC 3542 3.1)."""
    body = BODY.pack(mark, target, number, 0)
    packet = HEAD.pack(REQUEST[version], 0, 0, int.from_bytes(mark[:2], "big"), number & 0xFFFF) + body
    if version == 6:
        return packet
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


def answer(version: int, packet: bytes, mark: bytes) -> tuple[int, int] | None:
    """Target and round of the request that a packet answers, as a raw socket gives it (IPv4 with its header); None for
    every other packet."""
    start = (packet[0] & 15) * 4 if version == 4 and packet else 0
    if len(packet) < start + HEAD.size + BODY.size or packet[start] != REPLY[version]:
        return None
    theirs, target, number, _ = BODY.unpack_from(packet, start + HEAD.size)
    return (target, number) if theirs == mark else None


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
