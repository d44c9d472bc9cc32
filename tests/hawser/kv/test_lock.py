"""lock, elect and fences: two contenders, a holder that is killed, a lock that is lost."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.wait import until

from .servers import HAWSER, Server, line_of


def test_the_second_waits_for_the_first(store: Server) -> None:
    with store.running("lock", "job") as first:
        key = line_of(first)
        assert key.startswith("job/")
        with store.running("lock", "job", "--", "echo", "mine") as second:
            until(lambda: len(store.ok("get", "--prefix", "job/", "--keys-only").lines) == 2)
            first.send_signal(signal.SIGINT)
            assert line_of(second) == "mine"
            assert (first.wait(10), second.wait(10)) == (130, 0)
    assert store.ok("get", "--prefix", "job/").out == b""
    assert store.ok("lease", "ls").lines[1:] == []


def test_a_killed_holders_command_ends_and_the_lock_goes_on_when_the_lease_is_over(store: Server) -> None:
    with store.running("lock", "job", "--ttl", "2", "--", "sh", "-c", "echo $$; exec sleep 60") as first:
        child = int(line_of(first))
        with store.running("lock", "job", "--ttl", "2", "--", "echo", "mine") as second:
            until(lambda: len(store.ok("get", "--prefix", "job/", "--keys-only").lines) == 2)
            first.kill()
            until(lambda: not _alive(child), what="the end of the command")
            assert line_of(second) == "mine"
            assert second.wait(10) == 0


def _alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_exit_code_is_the_commands_and_signals_are_its_own(store: Server) -> None:
    assert store.kv("lock", "job", "--", "sh", "-c", "exit 7").code == 7
    assert store.kv("lock", "job", "--", "no-such-program").code == 127
    script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with store.running("lock", "job", "--", "sh", "-c", script) as holder:
        assert line_of(holder) == "ready"
        holder.terminate()
        assert line_of(holder) == "told"
        assert holder.wait(10) == 9
    assert store.ok("get", "--prefix", "job/").out == b""


def test_a_lost_lock_ends_the_command_with_one_line_and_code_5(store: Server) -> None:
    with store.running("lock", "job", "--", "sh", "-c", "echo ready; exec sleep 60") as holder:
        assert line_of(holder) == "ready"
        store.ok("del", "--prefix", "job/")
        assert holder.wait(10) == 5
        assert holder.stderr is not None
        (line,) = holder.stderr.read().splitlines()
        assert line.startswith("hawser: the lock job was lost:")


def test_a_lock_whose_server_is_gone_is_lost_when_its_time_is_over(embedded: Server) -> None:
    with embedded.running("lock", "job", "--ttl", "2", "--", "sh", "-c", "echo ready; exec sleep 60") as holder:
        assert line_of(holder) == "ready"
        embedded.stop(signal.SIGKILL)
        assert holder.wait(15) == 5


def test_waiting_may_be_given_up(store: Server) -> None:
    with store.running("lock", "job") as holder:
        key = line_of(holder)
        outcome = store.kv("lock", "job", "--wait", "0")
        assert outcome.code == 4
        assert key in outcome.err
        holder.terminate()
        assert holder.wait(10) == 143


def test_the_environment_of_the_command_is_a_fence_for_its_writes(store: Server) -> None:
    hawser = f"{HAWSER} kv put out"
    script = f'test "$ETCD_LOCK_KEY=$ETCD_LOCK_REV" = "$HAWSER_FENCE" && {hawser} held --fence "$HAWSER_FENCE"'
    script += '; echo "$HAWSER_FENCE"'
    with store.running("lock", "job", "--", "sh", "-c", script) as holder:
        revision, fence = line_of(holder), line_of(holder)
        assert holder.wait(10) == 0
    assert store.ok("get", "out").text == "held\n"
    assert int(revision) > 1
    for verb in (("put", "out", "late"), ("del", "out"), ("txn",)):
        outcome = store.kv(*verb, "--fence", fence, stdin=b"\nput out late\n")
        assert (outcome.code, outcome.out) == (4, b""), verb
        assert "not held any more" in outcome.err
    assert store.ok("get", "out").text == "held\n"


def test_fenced_verbs_do_what_they_say_while_it_is_held(store: Server) -> None:
    with store.running("lock", "job", "--json") as holder:
        held = json.loads(line_of(holder))
        fence = f"{held['key']}={held['revision']}"
        store.ok("put", "a", "1", "--fence", fence)
        assert store.ok("put", "a", "2", "--prev-kv", "--fence", fence).lines[1:] == ["a", "1"]
        assert store.ok("txn", "--fence", fence, stdin=b'val("a") = "2"\n\nget a\n').text == "SUCCESS\n\na\n2\n"
        assert store.ok("del", "a", "--if-held", fence).text == "1\n"
        assert store.kv("put", "a", "3", "--fence", f"{held['key']}={held['revision'] - 1}").code == 4


def test_an_election_and_who_listens(store: Server) -> None:
    with store.running("elect", "boss", "--listen") as listener, store.running("elect", "boss", "ann") as ann:
        key, value = line_of(ann), line_of(ann)
        assert (key[:5], value) == ("boss/", "ann")
        assert [line_of(listener), line_of(listener)] == [key, "ann"]
        with store.running("elect", "boss", "bob") as bob:
            until(lambda: len(store.ok("get", "--prefix", "boss/", "--keys-only").lines) == 2)
            ann.terminate()
            assert [line_of(bob), line_of(bob)][1] == "bob"
            assert [line_of(listener), line_of(listener)][1] == "bob"


@pytest.mark.skipif(shutil.which("etcdctl") is None, reason="no etcdctl")
def test_etcdctl_takes_part_in_the_same_lock(store: Server) -> None:
    environment = os.environ | {"ETCDCTL_API": "3"}
    command = ["etcdctl", "--endpoints", f"127.0.0.1:{store.port}", "lock", "job", "--", "echo", "mine"]
    with store.running("lock", "job") as holder:
        line_of(holder)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
            until(lambda: len(store.ok("get", "--prefix", "job/", "--keys-only").lines) == 2)
            holder.terminate()
            assert other.communicate(timeout=10)[0] == "mine\n"
