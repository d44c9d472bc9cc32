"""migrate: both directions between a directory and etcd, with leases; what is in the way is said."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .servers import HAWSER, Server, kv, popen


def test_there_and_back_with_leases(server: Server, store: Server, tmp_path: Path) -> None:
    lease = store.ok("lease", "grant", "600").text.strip()
    store.ok("txn", stdin=b"\n" + b"".join(b"put /k/%03d v\n" % number for number in range(100)))
    store.ok("put", "/k/lease", "x", "--lease", lease)
    store.ok("put", "/k/bin", stdin=b"\0\xff")
    there = kv("migrate", "--from", store.url, "--to", f"sqlite:{tmp_path}/there")
    assert there.code == 0, there
    assert "moved 102 keys" in there.text
    assert there.err.splitlines()[-1] == "verify 102/102"
    store.ok("del", "--prefix", "")
    store.ok("lease", "revoke", lease)
    back = kv("migrate", "--from", f"sqlite:{tmp_path}/there", "--to", f"etcd://127.0.0.1:{store.port}", "--json")
    assert json.loads(back.text) == {"moved": 102, "sha256": there.text.split()[-1]}
    assert store.ok("lease", "show", lease, "--keys").lines[1:] == ["/k/lease"]
    assert store.ok("get", "/k/bin").out == b"\0\xff\n"


def test_a_target_with_keys_of_its_own_is_not_overwritten_unless_told_so(store: Server, tmp_path: Path) -> None:
    store.ok("put", "ours", "1")
    here = f"sqlite:{tmp_path}/here"
    assert kv("migrate", "--from", store.url, "--to", here).code == 0
    store.ok("del", "ours")
    store.ok("put", "theirs", "2")
    refused = kv("migrate", "--from", here, "--to", store.url)
    assert (refused.code, len(refused.err.splitlines())) == (4, 1)
    assert "theirs" in refused.err
    assert store.ok("get", "theirs").text == "2\n"
    assert kv("migrate", "--from", here, "--to", store.url, "--overwrite").code == 0
    assert store.ok("get", "--prefix", "", "--keys-only").lines == ["ours"]


def test_what_cannot_be_moved(embedded: Server, tmp_path: Path) -> None:
    store, nowhere, busy = embedded, f"sqlite:{tmp_path}/nowhere", f"sqlite:{embedded.directory}/data"
    for source, target, code in (
        (nowhere, store.url, 3),
        (busy, store.url, 4),
        (store.url, store.url, 2),
        (store.url, "http://127.0.0.1:1", 5),
    ):
        outcome = kv("migrate", "--from", source, "--to", target, "--timeout", "1")
        assert (outcome.code, outcome.out) == (code, b""), outcome
        assert len(outcome.err.splitlines()) == 1


@contextmanager
def node(path: Path, said: list[object]) -> Iterator[list[bytes]]:
    """A node that answers one request with these lines; what it was asked."""
    asked = list[bytes]()
    with socket.create_server(str(path), family=socket.AF_UNIX) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                while not asked or not asked[-1].endswith(b"}"):
                    asked.append(connection.recv(65536))
                lines = "".join(f"{json.dumps(each)}\n" for each in said)
                connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{lines}".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        yield asked
        thread.join()


MOVED = [{"phase": "copy", "done": 1, "total": 2}, {"phase": "copy", "done": 2, "total": 2}]


@pytest.mark.parametrize(("target", "endpoints"), [("etcd://a:1,b:2", ["http://a:1", "http://b:2"]), ("sqlite", [])])
def test_a_nodes_own_store_is_moved_by_the_node(target: str, endpoints: list[str], rundir: Path) -> None:
    command = [HAWSER, "--socket", f"{rundir}/s", "kv", "migrate", "--to", target]
    moved = [*MOVED, {"moved": 2, "sha256": "ab"}, {"end": True}]
    with node(rundir / "s", moved) as asked, popen(command) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, f"moved 2 keys to {target}, verified: sha256 ab\n")
    assert err.splitlines() == ["copy 1/2", "copy 2/2"]
    head, _, body = b"".join(asked).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/store/migrate ")
    assert json.loads(body)["endpoints"] == endpoints


def test_what_the_node_says_against_it_is_one_line(rundir: Path) -> None:
    error = {"error": {"kind": "conflict", "message": "the stores differ"}}
    command = [HAWSER, "--socket", f"{rundir}/s", "kv", "migrate", "--to", "etcd://a:1"]
    with node(rundir / "s", [MOVED[1], error]), popen(command) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (4, "")
    assert err.splitlines() == ["copy 2/2", "hawser: the stores differ"]
