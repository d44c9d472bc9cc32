"""snapshot: save, status, restore."""

import json
from pathlib import Path

from .servers import Server, kv


def test_what_was_saved_is_there_after_a_restore(embedded: Server, tmp_path: Path) -> None:
    lease = embedded.ok("lease", "grant", "600").text.strip()
    embedded.ok("put", "a", "1", "--lease", lease)
    revision = int(embedded.ok("put", "b", stdin=b"\0\xff").text)
    file = tmp_path / "snap"
    assert embedded.ok("snapshot", "save", str(file)).text.startswith(f"saved {file}: {file.stat().st_size} bytes")
    embedded.ok("del", "a")
    assert file.stat().st_mode & 0o777 == 0o600
    status = json.loads(kv("snapshot", "status", str(file), "--json").text)
    assert (status["of"], status["revision"], status["keys"]) == ("hawser", revision, 2)
    embedded.stop()
    assert kv("snapshot", "restore", str(file), "--data-dir", str(tmp_path / "new")).code == 0
    copy = Server("hawser", tmp_path / "other")
    copy.directory.mkdir()
    (tmp_path / "new").rename(copy.directory / "data")
    copy.start()
    assert copy.ok("get", "b").out == b"\0\xff\n"
    assert copy.ok("lease", "show", lease, "--keys").lines[1:] == ["a"]
    copy.stop()
    again = kv("snapshot", "restore", str(file), "--data-dir", str(copy.directory / "data"))
    assert (again.code, len(again.err.splitlines())) == (4, 1)


def test_a_snapshot_of_etcds_own_is_checked_and_left_to_etcdctl(tmp_path: Path) -> None:
    server, file = Server("etcd", tmp_path), tmp_path / "snap"
    with server.started():
        server.ok("put", "a", "1")
        server.ok("snapshot", "save", str(file))
    assert json.loads(kv("snapshot", "status", str(file), "--json").text)["of"] == "etcd"
    outcome = kv("snapshot", "restore", str(file), "--data-dir", str(tmp_path / "new"))
    assert outcome.code == 2
    assert "etcdctl snapshot restore" in outcome.err


def test_a_file_that_is_damaged_or_none(embedded: Server, tmp_path: Path) -> None:
    file = tmp_path / "snap"
    embedded.ok("put", "a", "1")
    embedded.ok("snapshot", "save", str(file))
    whole = file.read_bytes()
    middle = len(whole) // 2
    for data in (whole[:-1], whole[:middle] + bytes((whole[middle] ^ 1,)) + whole[middle + 1 :], b"nothing", b""):
        file.write_bytes(data)
        for arguments in (("status", str(file)), ("restore", str(file), "--data-dir", str(tmp_path / "new"))):
            outcome = kv("snapshot", *arguments)
            assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (1, b"", 1), outcome
    assert not (tmp_path / "new" / "store.db").exists()
    assert embedded.kv("snapshot", "save", "/no/such/directory/snap").code == 1
