"""`hawser node up`: the node as a process, its signals, its log, and word to its supervisor."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from dataclasses import replace

from .api.server import check_path, listening
from .faults import kind_of
from .node import Config, open_node

log = logging.getLogger("hawser")
FILES = 1 << 16


def serve(config: Config) -> int:
    """Run a node in the foreground until SIGTERM or SIGINT."""
    _raise_limits()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        while asyncio.run(_serve(config)):
            # the store has moved: the same again on the other one, which is written down
            config = replace(config, etcd=None, found=None, token="")
    except BaseExceptionGroup as group:
        foreseen = [error for error in _leaves(group) if kind_of(error)]
        raise (foreseen[0] if foreseen else group) from group
    return 0


def _raise_limits() -> None:
    """Every running container costs the node some descriptors; the usual limit of 1024 would be a few hundred."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _serve(config: Config) -> bool:
    """Run a node; whether it is to be started again."""
    check_path(config.socket)
    async with open_node(config) as node:
        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def end() -> None:
            told.set()
            node.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        async with listening(node, config.socket):

            def ready() -> None:
                log.info("node %s is up, API at %s", node.machine, config.socket)
                notify("READY=1")

            await node.run(ready)
            if node.move is not None and node.move.copied:
                await node.move.finish()
                if not told.is_set():
                    return True
            notify("STOPPING=1")
            return False


def notify(state: str) -> None:
    """Tell the supervisor (sd_notify(3)); nothing when there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), path)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
