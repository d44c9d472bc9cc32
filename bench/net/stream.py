"""`python -m bench.net.stream send|receive FD RATE`: datagrams at a rate, or how many arrive, until standard input says
so; then the number on standard output. Both look at standard input between datagrams only."""

import select
import socket
import sys
import time


def main(what: str, number: str, rate: str) -> None:
    """One end of a stream."""
    with socket.socket(fileno=int(number)) as end:
        print(_send(end, int(rate)) if what == "send" else _receive(end), flush=True)


def _send(end: socket.socket, rate: int) -> int:
    began, sent = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        while sent < (time.monotonic() - began) * rate:
            end.send(sent.to_bytes(8, "big"))
            sent += 1
        time.sleep(1 / rate)
    return sent


def _receive(end: socket.socket) -> int:
    seen = set[bytes]()
    while True:
        ready = select.select([sys.stdin, end], [], [])[0]
        if end in ready:
            seen.add(end.recv(100))
        elif ready:
            return len(seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
