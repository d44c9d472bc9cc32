"""The zygote: a small process with one thread, from which shims and joiners are forked.

Forking the node itself would copy its page tables and whatever its threads hold; this one has imported what its
children need and nothing else. It serves requests from the node over a SOCK_SEQPACKET socket, each with the descriptors it is
about, and ends with the node. Its lock is held by it and by every shim that has not yet locked its own container: who
gets the lock knows that no start of an earlier node is under way.
"""

import _socket
import array
import fcntl
import gc
import marshal
import os
import signal
import sys

from . import join, shim

REQUEST_MAX = 192 << 10
FDS = 8


def serve(control: int, lock: int) -> None:
    """Answer until the node is gone. Returns only in the zygote itself."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.disable()
    gc.freeze()
    door = _socket.socket(fileno=control)
    door.send(b"ready")
    size = _socket.CMSG_LEN(FDS * 4)
    while True:
        data, ancillary, _, _ = door.recvmsg(REQUEST_MAX, size, _socket.MSG_CMSG_CLOEXEC)
        if not data:
            return
        received = array.array("i")
        for _, _, block in ancillary:
            received.frombytes(block[: len(block) - len(block) % 4])
        fds = received.tolist()
        if os.fork() == 0:
            _work(data, fds, (control, lock))
        for fd in fds:
            os.close(fd)


def _work(data: bytes, fds: list[int], inherited: tuple[int, ...]) -> None:
    try:
        config = marshal.loads(data)
        if config["verb"] == "start":
            shim.main(config, fds[0], inherited)
        else:
            join.main(config, fds, inherited)
    except BaseException as error:
        text = f"{shim.stamp()} {type(error).__name__}: {error} line {_line(error)}\n"
        os.write(2, text.encode(errors="replace"))
    finally:
        os._exit(0)


def _line(error: BaseException) -> int:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace.tb_lineno if trace else 0


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
