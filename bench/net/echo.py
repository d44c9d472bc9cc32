"""Round trips over TCP connections: `python -m bench.net.echo FD` answers each message at the listening socket FD, and
a `Line` asks. Both ends are pinned, so that whatever is compared meets the same."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from hawser.netd.drivers import netns

PORT, SIZE = 7007, 64


class Line:
    """A connection from one namespace to an address of another, with a process that answers."""

    def __init__(self, near: Path, far: Path, address: str) -> None:
        listener = netns.inside(far, lambda: socket.create_server((address, PORT)))
        words = [sys.executable, "-m", "bench.net.echo", str(listener.fileno())]
        with listener:
            self._server = subprocess.Popen(words, pass_fds=[listener.fileno()])
            self._client = netns.inside(near, lambda: socket.create_connection((address, PORT), timeout=10))
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def rate(self, seconds: float) -> float:
        """Round trips a second."""
        home = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(home)})
        try:
            message, count, began = b"x" * SIZE, 0, time.perf_counter()
            while time.perf_counter() < began + seconds:
                for _ in range(100):
                    self._client.send(message)
                    self._client.recv(SIZE)
                count += 100
            return count / (time.perf_counter() - began)
        finally:
            os.sched_setaffinity(0, home)

    def close(self) -> None:
        self._client.close()
        self._server.wait(10)


def main() -> None:
    """Answer one client until it leaves."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with socket.socket(fileno=int(sys.argv[1])) as listener, listener.accept()[0] as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while message := client.recv(SIZE):
            client.send(message)


if __name__ == "__main__":
    main()
