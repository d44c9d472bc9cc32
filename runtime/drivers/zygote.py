"""The zygote: a small process with one thread, from which shims and joiners are forked.

Forking the node itself would copy its page tables and whatever its threads hold; this one has imported what its
children need and nothing else. Requests come over a SOCK_SEQPACKET socket, each with the descriptors it is about. One
child is always made in advance and waits for the next request itself, so that no request waits for a fork; all end with
the node. The zygote's lock is held by it and by every child that has not yet locked its own container: who gets the
lock knows that no start of an earlier node is under way.
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
TAKEN, NODE_GONE = b"t", b"e"


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
    word = b""
    while word != NODE_GONE:
        heard, tell = os.pipe()
        if os.fork() == 0:
            os.close(heard)
            _work(door, tell, (control, lock))
        os.close(tell)
        word = os.read(heard, 1)
        os.close(heard)


def _work(door: _socket.socket, tell: int, inherited: tuple[int, ...]) -> None:
    """A child: prepare, wait for one request, have the zygote make the next child, do it."""
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        spare = shim.Spare()
        data, ancillary, _, _ = door.recvmsg(REQUEST_MAX, _socket.CMSG_LEN(FDS * 4), _socket.MSG_CMSG_CLOEXEC)
        os.write(tell, TAKEN if data else NODE_GONE)
        os.close(tell)
        if data:
            _serve(data, ancillary, spare, inherited)
    except BaseException as error:
        text = f"{shim.stamp()} {type(error).__name__}: {error} line {_line(error)}\n"
        os.write(2, text.encode(errors="replace"))
    finally:
        os._exit(0)


def _serve(data: bytes, ancillary: list[tuple[int, int, bytes]], spare: shim.Spare, inherited: tuple[int, ...]) -> None:
    fds = array.array("i")
    for _, _, block in ancillary:
        fds.frombytes(block[: len(block) - len(block) % 4])
    config = marshal.loads(data)
    if config["verb"] == "start":
        shim.main(config, spare, fds[0], inherited)
    else:
        spare.dismiss()
        join.main(config, fds.tolist(), inherited)


def _line(error: BaseException) -> int:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace.tb_lineno if trace else 0


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
