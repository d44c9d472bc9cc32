"""compact, defrag, alarm, status, health, hash, member and move-leader."""

import json
from pathlib import Path

import pytest

from tests.etcd import free_port
from tests.wait import until

from .servers import Server, kv


def test_compaction_and_what_is_read_before_and_after(store: Server) -> None:
    first = store.ok("put", "a", "1").text.strip()
    last = store.ok("put", "a", "2").text.strip()
    assert store.ok("get", "a", "--rev", first).text == "1\n"
    assert store.ok("compact", last, "--physical").text == f"compacted {last}\n"
    assert store.ok("get", "a", "--rev", last).text == "2\n"
    for arguments, code in ((("get", "a", "--rev", first), 4), (("compact", last), 4), (("compact", "999999"), 2)):
        outcome = store.kv(*arguments)
        assert (outcome.code, len(outcome.err.splitlines())) == (code, 1), arguments
    assert store.ok("defrag").text == f"defragmented {store.url}\n"


def test_status_health_and_hash_of_each_endpoint(store: Server) -> None:
    revision = int(store.ok("put", "a", "1").text)
    (status,) = json.loads(store.ok("status", "--json").text)
    assert (status["revision"], status["leader"], status["learner"]) == (revision, status["member"], False)
    assert status["version"].startswith("3.4.")
    assert status["size"] >= status["in_use"] > 0
    assert store.ok("status").lines[1].split()[5] == "yes"
    (health,) = json.loads(store.ok("health", "--json").text)
    assert health["healthy"]
    assert 0 < health["took"] < 5000
    (hash_,) = json.loads(store.ok("hash", "--json").text)
    assert hash_["revision"] == revision
    assert json.loads(store.ok("hash", "--rev", str(revision), "--cluster", "--json").text)[0]["hash"] == hash_["hash"]


def test_an_endpoint_that_is_down_is_one_line_beside_the_others_rows(store: Server) -> None:
    down = f"http://127.0.0.1:{free_port()}"
    for verb in ("status", "health", "hash"):
        outcome = kv("--endpoints", f"{down},{store.url}", verb)
        assert outcome.code == 5, verb
        assert store.url in outcome.text
        (line,) = outcome.err.splitlines()
        assert down in line
    assert "unhealthy" in kv("--endpoints", down, "health").text


def test_members(store: Server) -> None:
    (member,) = json.loads(store.ok("member", "ls", "--json").text)
    assert (member["name"], member["started"], member["learner"]) == ("default", True, False)
    assert member["client_urls"] == [store.url]
    assert store.ok("member", "ls").lines[1].split()[0] == member["id"]
    for arguments, code in (
        (("member", "rm", "12"), 3),
        (("member", "promote", member["id"]), 4),
        (("move-leader", "12"), 4),
        (("member", "add", "x", "--peer-urls", "nonsense"), 2),
    ):
        outcome = store.kv(*arguments)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (code, b"", 1), (arguments, outcome)


@pytest.mark.parametrize(
    ("kind", "quota"), [("hawser", ("--quota", "1M")), ("etcd", ("--quota-backend-bytes", "1000000"))]
)
def test_a_store_that_is_full_says_what_to_do_and_does_it(kind: str, quota: tuple[str, str], tmp_path: Path) -> None:
    server, value = Server(kind, tmp_path, quota), b"x" * 100_000
    with server.started():
        until(lambda: server.kv("put", "k", stdin=value).code, what="a full store")
        full = server.kv("put", "k", stdin=value)
        assert (full.code, len(full.err.splitlines())) == (5, 1)
        assert "hawser kv alarm disarm" in full.err
        assert server.ok("alarm", "ls").lines[1].split()[1] == "NOSPACE"
        assert server.kv("health").code == 5
        revision = json.loads(server.ok("get", "k", "--json").text)["revision"]
        server.ok("compact", str(revision), "--physical")
        server.ok("defrag")
        assert server.ok("alarm", "disarm").lines[1].split()[1] == "NOSPACE"
        server.ok("put", "k", stdin=value)
        server.ok("health")
