"""The zygote: a small process with one thread, from which shims and joiners are forked.

Forking the node itself would copy its page tables and whatever its threads hold; this one has imported what its
children need and nothing else. Requests come over a SOCK_SEQPACKET socket, each with the descriptors it is about. Up
to three children are made in advance and wait for the next requests themselves, so that none waits for a fork or for
its cgroups; all end with the node. The zygote's lock is held by it and by every child that has not yet locked its own
container: who gets the lock knows that no start of an earlier node is under way.
"""

import _socket
import array
import contextlib
import fcntl
import gc
import marshal
import os
import select
import signal

from . import cgroups, join, shim

RECEIVE = 256 << 10  # bytes, more than any request has
FDS = 8
SPARES = 3
QUIET = 20  # ms; until then the machine's processors belong to the start under way
TAKEN, NODE_GONE = b"t", b"e"


def serve(control: int, lock: int, branches: tuple[str, ...], homes: tuple[str, ...]) -> None:
    """Answer until the node is gone. Returns only in the zygote itself."""
    with contextlib.suppress(OSError):
        cgroups.add([(home, []) for home in homes], 0)
    fcntl.flock(lock, fcntl.LOCK_EX)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.disable()
    gc.freeze()
    door = _socket.socket(fileno=control)
    door.send(b"ready")
    poll = select.poll()
    waiting: set[int] = set()
    gone = quiet = False
    while waiting or not gone:
        if not gone and (quiet or not waiting):
            heard, tell = os.pipe()
            if os.fork() == 0:
                os.close(heard)
                _work(door, tell, (control, lock, *waiting), branches)
            os.close(tell)
            waiting.add(heard)
            poll.register(heard, select.POLLIN)
        enough = gone or len(waiting) >= SPARES
        events = poll.poll(None if enough else QUIET)
        quiet = not events and not enough
        for heard, _ in events:
            gone |= os.read(heard, 1) == NODE_GONE
            poll.unregister(heard)
            os.close(heard)
            waiting.remove(heard)


def _work(door: _socket.socket, tell: int, inherited: tuple[int, ...], branches: tuple[str, ...]) -> None:
    """A child: prepare, wait for one request, have the zygote make the next child, do it."""
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        spare = shim.Spare(branches=branches)
        data, ancillary, _, _ = door.recvmsg(RECEIVE, _socket.CMSG_LEN(FDS * 4), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            spare.dismiss()
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
