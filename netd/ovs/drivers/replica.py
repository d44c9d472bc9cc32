"""A replica of Open vSwitch's database (the IDL of python-openvswitch) on the thread that owns it.

The library blocks and polls, so one thread has it: it takes jobs one after the other and follows the server in between.
A lost connection drops the replica; a new one is made when the server is there again, with the schema that it has
then. A job never waits for that: it fails, and whoever asked asks again.
"""

import contextlib
import json
import os
import queue
import re
import socket
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ovs.db.idl
import ovs.poller

from ...errors import Conflict, NetError, Unavailable

T = TypeVar("T")
COLUMNS = {
    "Open_vSwitch": ["bridges", "cur_cfg", "next_cfg"],
    "Bridge": [
        *("name", "datapath_type", "protocols", "fail_mode", "other_config", "external_ids", "ports", "mirrors"),
    ],
    "Port": ["name", "interfaces", "qos", "external_ids"],
    "Interface": [
        *("name", "type", "options", "ofport", "ofport_request", "error", "external_ids"),
        *("ingress_policing_rate", "ingress_policing_burst"),
    ],
    "QoS": ["type", "other_config", "queues", "external_ids"],
    "Queue": ["other_config", "external_ids"],
    "Mirror": ["name", "select_src_port", "select_dst_port", "output_port", "external_ids"],
}
TAKEN = re.compile(r'multiple rows in "(\w+)" table to have identical values \((.*?)\) for index on column "name"')
TIMEOUT, RETRY = 5.0, 0.1
Transaction = ovs.db.idl.Transaction


class Replica:
    """One database. `changed` is called on the replica's thread after anything in it changed, or the connection."""

    def __init__(self, socket_path: Path, changed: Callable[[], None]) -> None:
        self._path, self._changed = socket_path, changed
        self._idl: Any = None
        self._seen = -1
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any], AbstractEventLoop] | None]
        self._jobs = queue.SimpleQueue()
        self._bell, self._rope = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="ovsdb", daemon=True)
        self._thread.start()

    def do(self, act: Callable[["Replica"], T], loop: AbstractEventLoop) -> "Future[T]":
        """Run `act` on the replica's thread, after what was asked before."""
        future: Future[T] = loop.create_future()
        self._jobs.put((lambda: act(self), future, loop))
        self._ring()
        return future

    def close(self) -> None:
        """Let go; blocks until what was asked is done."""
        self._jobs.put(None)
        self._ring()
        self._thread.join()
        os.close(self._bell)
        os.close(self._rope)

    # what follows is called on the replica's thread only

    @property
    def tables(self) -> Any:
        """The tables of COLUMNS, as the server last said. Unavailable without a connection."""
        return self._connected().tables

    def transact(self, fill: Callable[[Any, Any], None]) -> int:
        """Do what `fill` writes into a transaction over the tables, and return the number of the configuration that it
        makes (0: it changes nothing).

        NetError when the server refuses, Conflict for a name that is taken: nothing is done. Unavailable when the
        connection is lost, or another was faster: what is done is seen by looking.
        """
        idl = self._connected()
        transaction = Transaction(idl)
        try:
            fill(transaction, idl.tables)
        except BaseException:
            transaction.abort()
            raise
        for row in idl.tables["Open_vSwitch"].rows.values():
            row.increment("next_cfg")
        status = self._commit(idl, transaction)
        if status == Transaction.ERROR:
            raise _refusal(transaction.get_error())
        if status == Transaction.UNCHANGED:
            return 0
        if status != Transaction.SUCCESS:
            raise Unavailable("ovsdb: the configuration was changed by another meanwhile; look again")
        return int(transaction.get_increment_new_value() or 0)

    def _commit(self, idl: Any, transaction: Any) -> str:
        deadline = time.monotonic() + TIMEOUT
        while True:
            status: str = transaction.commit()
            if status != Transaction.INCOMPLETE:
                return status
            if time.monotonic() > deadline:
                self._drop()
                raise Unavailable(f"ovsdb does not answer within {TIMEOUT:g} s; whether it was done is seen by looking")
            _block(idl, RETRY)
            idl.run()
            if not idl._session.is_connected():
                self._drop()
                raise Unavailable("ovsdb: the connection was lost; whether it was done is seen by looking")

    def _connected(self) -> Any:
        """The replica, up to date with what the server has sent."""
        if self._idl is not None:
            self._follow()
        if self._idl is None:
            self._connect()
        return self._idl

    def _connect(self) -> None:
        helper = ovs.db.idl.SchemaHelper(schema_json=_schema(self._path))
        for table, columns in COLUMNS.items():
            helper.register_columns(table, columns)
        idl = ovs.db.idl.Idl(f"unix:{self._path}", helper, probe_interval=0, leader_only=False)
        deadline = time.monotonic() + TIMEOUT
        while not idl.has_ever_connected():
            if time.monotonic() > deadline:
                idl.close()
                raise Unavailable(f"{self._path}: ovsdb does not send its contents within {TIMEOUT:g} s")
            idl.run()
            if not idl.has_ever_connected():
                _block(idl, RETRY)
        self._idl, self._seen = idl, idl.change_seqno
        self._changed()

    def _follow(self) -> None:
        """Take in what the server has sent; tell when something changed."""
        more = True
        while more and self._idl is not None:
            more = self._idl.run()
            if not self._idl._session.is_connected():
                self._drop()
                self._changed()
            elif self._idl.change_seqno != self._seen:
                self._seen = self._idl.change_seqno
                self._changed()

    def _drop(self) -> None:
        idl, self._idl = self._idl, None
        if idl is not None:
            idl.close()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                self._idle()
                continue
            if job is None:
                self._drop()
                return
            self._answer(*job)

    def _answer(self, act: Callable[[], Any], future: "Future[Any]", loop: AbstractEventLoop) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = act()
        except Exception as error:
            failure = error

        def tell() -> None:
            if not future.done():
                future.set_exception(failure) if failure else future.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell)

    def _idle(self) -> None:
        """Follow the server until a job is there."""
        if self._idl is None:
            with contextlib.suppress(NetError):
                self._connect()
        _block(self._idl, RETRY if self._idl is None else None, self._bell)
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)
        if self._idl is not None:
            try:
                self._follow()
            except Exception:  # an answer that makes no sense: begin anew, the thread must go on
                self._drop()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._rope, b"x")


def _block(idl: Any, seconds: float | None, bell: int | None = None) -> None:
    """Wait until the server says something, `seconds` have passed, or the bell rings."""
    poller = ovs.poller.Poller()
    if idl is not None:
        idl.wait(poller)
    if bell is not None:
        poller.fd_wait(bell, ovs.poller.POLLIN)
    if seconds is not None:
        poller.timer_wait(int(seconds * 1000))
    poller.block()


def _schema(path: Path) -> Any:
    """The schema that the server has. Unavailable."""
    request = json.dumps({"id": 0, "method": "get_schema", "params": ["Open_vSwitch"]}).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(str(path))
            sock.sendall(request)
            answer = b""
            while chunk := sock.recv(1 << 20):
                answer += chunk
                with contextlib.suppress(ValueError):
                    return json.loads(answer)["result"]
    except OSError as error:
        raise Unavailable(f"{path}: ovsdb: {error.strerror or error}; does it run?") from error
    raise Unavailable(f"{path}: ovsdb closed the connection")


def _refusal(error: str | None) -> NetError:
    """The words of the operation that failed."""
    try:
        reply = json.loads(error or "")
        words = str(reply.get("details") or reply["error"]).splitlines()[0]
    except (ValueError, KeyError, AttributeError, IndexError):
        words = error or "no reason given"
    if taken := TAKEN.search(words):
        return Conflict(f"Open vSwitch has a {taken[1].lower()} {taken[2]} that is not ours, or it is asked for twice")
    return NetError(f"ovsdb refused: {words}")
