"""migrate: both directions between a directory and etcd, with leases; what is in the way is said."""

import json
from pathlib import Path

from .servers import Server, kv


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


def test_what_cannot_be_moved(store: Server, embedded: Server, tmp_path: Path) -> None:
    nowhere, busy = f"sqlite:{tmp_path}/nowhere", f"sqlite:{embedded.directory}/data"
    for source, target, code in (
        (nowhere, store.url, 3),
        (busy, store.url, 4),
        (store.url, store.url, 2),
        (store.url, "http://127.0.0.1:1", 5),
    ):
        outcome = kv("migrate", "--from", source, "--to", target, "--timeout", "1")
        assert (outcome.code, outcome.out) == (code, b""), outcome
        assert len(outcome.err.splitlines()) == 1
