"""Echo requests, and whose answer an answer is."""

import struct

from hawser.netd.watch.echo import answer, checksum, request

MARK, IP4 = b"12345678", b"\x46" + bytes(23)


def reply(packet: bytes, kind: int) -> bytes:
    return bytes([kind]) + packet[1:]


def test_the_checksum_of_a_request_is_right() -> None:
    assert checksum(request(4, MARK, 70_000, 3)) == 0


def test_an_answer_names_target_and_round() -> None:
    assert answer(4, IP4 + reply(request(4, MARK, 70_000, 3), 0), MARK) == (70_000, 3)
    assert answer(6, reply(request(6, MARK, 1, 0), 129), MARK) == (1, 0)


def test_what_is_no_answer_of_ours_is_nothing() -> None:
    packet = request(4, MARK, 1, 0)
    assert answer(4, IP4 + packet, MARK) is None
    assert answer(4, IP4 + reply(packet, 0), b"87654321") is None
    assert answer(4, (IP4 + reply(packet, 0))[:-1], MARK) is None
    assert answer(4, b"", MARK) is None
    assert answer(6, struct.pack("!BBH", 129, 0, 0), MARK) is None
