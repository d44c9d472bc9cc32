"""serve: sockets, TLS with client certificates, options, its end; and what is wrong with any of them."""

import http.client
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hawser.cli.kv.serve import retention
from tests.etcd import free_port
from tests.wait import until

from .servers import HAWSER, kv, popen


def test_it_says_when_it_is_ready_serves_each_address_and_ends_on_sigterm(rundir: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [HAWSER, "kv", "serve", "--data-dir", f"{rundir}/d", "--listen", address, "--listen", f"unix:{rundir}/s"]
    with popen(command) as process:
        assert process.stderr is not None
        line = process.stderr.readline().rstrip("\n")
        assert line == f"hawser: kv serve: {rundir}/d at revision 1, on {address}, unix:{rundir}/s"
        assert kv("--endpoints", f"unix:{rundir}/s", "put", "a", "1").text == "2\n"
        assert kv("--endpoints", f"http://{address}", "get", "a").text == "1\n"
        second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert (second.returncode, len(second.stderr.splitlines())) == (4, 1)
        assert str(process.pid) in second.stderr
        process.terminate()
        assert process.wait(20) == 0
    assert not (rundir / "s").exists()


def test_it_takes_no_path_from_anybody_but_a_server_that_is_gone(rundir: Path) -> None:
    at = f"{rundir}/s"

    def command(directory: str, path: str) -> list[str]:
        return [HAWSER, "kv", "serve", "--data-dir", f"{rundir}/{directory}", "--listen", f"unix:{path}"]

    with popen(command("d", at)) as first:
        assert first.stderr is not None
        first.stderr.readline()
        (rundir / "file").write_text("mine")
        for path, why in ((at, "another server listens on"), (f"{rundir}/file", "no socket")):
            refused = subprocess.run(command("e", path), capture_output=True, text=True, timeout=20, check=False)
            assert (refused.returncode, len(refused.stderr.splitlines())) == (4, 1)
            assert why in refused.stderr
        assert kv("--endpoints", f"unix:{at}", "put", "a", "1").code == 0
        assert (rundir / "file").read_text() == "mine"
        first.kill()
        first.wait(20)
    assert (rundir / "s").exists()
    with popen(command("d", at)) as again:
        assert again.stderr is not None
        again.stderr.readline()
        assert kv("--endpoints", f"unix:{at}", "get", "a").text == "1\n"


def test_its_supervisor_is_told(rundir: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"{rundir}/n")
        told.settimeout(20)
        command = [HAWSER, "kv", "serve", "--data-dir", f"{rundir}/d", "--listen", f"unix:{rundir}/s"]
        with popen(command, environment=os.environ | {"NOTIFY_SOCKET": f"{rundir}/n"}) as process:
            assert told.recv(100) == b"READY=1"
            process.terminate()
            assert told.recv(100) == b"STOPPING=1"
            assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("mode", "text", "kept"),
    [
        ("periodic", "0", (None, None)),
        ("periodic", "2", (None, 7200.0)),
        ("periodic", "1h30m", (None, 5400.0)),
        ("periodic", "0.5h", (None, 1800.0)),
        ("periodic", "250ms", (None, 0.25)),
        ("revision", "1000", (1000, None)),
        ("revision", "0", (None, None)),
    ],
)
def test_the_past_is_kept_as_etcds_options_say(mode: str, text: str, kept: object) -> None:
    assert retention(mode, text) == kept


@pytest.mark.parametrize(
    "options",
    [
        ("--listen", "nonsense"),
        ("--listen", "127.0.0.1:99999"),
        ("--quota", "much"),
        ("--auto-compaction-retention", "soon"),
        ("--auto-compaction-mode", "revision", "--auto-compaction-retention", "1h"),
        ("--client-ca", "/etc/passwd"),
        ("--cert", "/etc/passwd", "--key", "/etc/passwd"),
        ("--cert", "/no/such/file"),
        ("--auth-token", "paseto"),
        ("--auth-token", "jwt"),
        ("--auth-token", "jwt,sign-method=HS256"),
        ("--auth-token", "jwt,sign-method=none,priv-key=/etc/hostname"),
        ("--auth-token", "jwt,sign-method=HS256,priv-key=/no/such/file"),
        ("--auth-token", "jwt,sign-method=HS256,priv-key=/etc/hostname,ttl=soon"),
        ("--auth-token", "jwt,sign-method=HS256,secret=x"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options: tuple[str, ...], tmp_path: Path) -> None:
    outcome = kv("serve", "--data-dir", str(tmp_path / "d"), *options)
    assert outcome.code in (2, 5)
    assert len(outcome.err.splitlines()) == 1
    assert not outcome.out


def test_signed_tokens_outlive_a_restart(rundir: Path) -> None:
    """A simple token is gone with its server; one that is signed is not."""
    (rundir / "secret").write_text("a long secret of this test")
    signing = f"jwt,sign-method=HS256,priv-key={rundir}/secret,ttl=1h"
    at = f"unix:{rundir}/s"
    command = [HAWSER, "kv", "serve", "--data-dir", f"{rundir}/d", "--listen", at, "--auth-token", signing]
    where = ("--endpoints", at)
    with popen(command) as process:
        until(lambda: (rundir / "s").exists(), timeout=20)
        for words in (("user", "add", "root:p"), ("user", "grant", "root", "root"), ("auth", "on")):
            assert kv(*words, *where).code == 0
        token = authenticate(rundir / "s")
        assert token.count(".") == 2
        process.terminate()
        assert process.wait(20) == 0
    with popen(command) as process:
        until(lambda: (rundir / "s").exists(), timeout=20)
        assert users(rundir / "s", token) == ["root"]
        forged = token[:-4] + "AAAA"
        assert "invalid auth token" in str(users(rundir / "s", forged))
        process.terminate()
        assert process.wait(20) == 0


def authenticate(path: Path) -> str:
    return str(asked(path, "/v3/auth/authenticate", {"name": "root", "password": "p"}, "")["token"])


def users(path: Path, token: str) -> object:
    answer = asked(path, "/v3/auth/user/list", {}, token)
    return answer.get("users", answer.get("error"))


def asked(path: Path, call: str, body: object, token: str) -> dict[str, Any]:
    """One call through the JSON gateway."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("POST", call, json.dumps(body), {"Authorization": token} if token else {})
    answer = dict(json.load(connection.getresponse()))
    connection.close()
    return answer


def test_a_port_that_is_taken_and_a_directory_that_is_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        taken = kv("serve", "--data-dir", str(tmp_path / "d"), "--listen", address)
    assert (taken.code, len(taken.err.splitlines())) == (5, 1)
    (tmp_path / "file").write_text("")
    outcome = kv("serve", "--data-dir", str(tmp_path / "file" / "d"), "--listen", "127.0.0.1:0")
    assert outcome.code in (2, 5)
    assert len(outcome.err.splitlines()) == 1
