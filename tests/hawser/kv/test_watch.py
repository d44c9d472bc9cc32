"""watch: from a past revision, as it happens, through a restart of the server, and with a command."""

import json
import signal

import pytest

from .servers import Server, kv, line_of


def test_the_past_comes_first_and_then_what_happens(store: Server) -> None:
    first = store.ok("put", "/w/a", "1").text.strip()
    store.ok("put", "/w/a", "2")
    store.ok("put", "elsewhere", "x")
    with store.running("watch", "--prefix", "/w/", "--rev", first, "--prev-kv") as watch:
        assert [line_of(watch) for _ in range(3)] == ["PUT /w/a 1", "WAS /w/a 1", "PUT /w/a 2"]
        store.ok("del", "/w/a")
        assert [line_of(watch) for _ in range(2)] == ["WAS /w/a 2", "DELETE /w/a"]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 130
        assert watch.stderr is not None
        assert watch.stderr.read().strip() == ""


def test_filters_json_and_a_range(store: Server) -> None:
    first = store.ok("put", "a", "1").text.strip()
    store.ok("put", "b", stdin=b"\xff")
    store.ok("del", "a")
    with store.running("watch", "a", "c", "--rev", first, "--no-put", "--json") as watch:
        event = json.loads(line_of(watch))
        assert (event["kind"], event["key"]) == ("delete", "a")
    with store.running("watch", "a", "c", "--rev", first, "--no-delete", "--json") as watch:
        events = [json.loads(line_of(watch)) for _ in range(2)]
        assert [event["value"] for event in events] == ["1", {"base64": "/w=="}]


def test_progress_is_told_when_nothing_happens(store: Server) -> None:
    revision = int(store.ok("put", "p", "1").text)
    with store.running("watch", "p", "--rev", str(revision), "--progress", "--every", "0.2") as watch:
        assert line_of(watch) == "PUT p 1"
        assert line_of(watch) == f"PROGRESS {revision}"


def test_a_command_finds_the_event_in_its_environment_and_the_value_on_its_input(store: Server) -> None:
    first = store.ok("put", "c", 'x "y"').text.strip()
    script = 'printf "%s|" "$ETCD_WATCH_REVISION" "$ETCD_WATCH_EVENT_TYPE" "$ETCD_WATCH_KEY" "$ETCD_WATCH_VALUE"'
    script += '; printf "%s|" "$HAWSER_EVENT" "$HAWSER_KEY" "$HAWSER_VALUE"; cat; echo; exit 7'
    with store.running("watch", "c", "--rev", first, "--", "sh", "-c", script) as watch:
        assert line_of(watch) == f'{first}|"PUT"|"c"|"x \\"y\\""|PUT|c|x "y"|x "y"'
        assert watch.wait(10) == 7


def test_a_revision_that_is_no_longer_kept(store: Server) -> None:
    for value in "123":
        revision = store.ok("put", "a", value).text.strip()
    store.ok("compact", revision)
    outcome = store.kv("watch", "a", "--rev", "2")
    assert (outcome.code, len(outcome.err.splitlines())) == (4, 1)
    assert "no longer kept" in outcome.err


def test_what_was_acknowledged_is_there_after_sigkill_and_a_watch_goes_on(embedded: Server) -> None:
    first = embedded.ok("put", "a", "1").text.strip()
    with embedded.running("watch", "a", "--rev", first) as watch:
        assert line_of(watch) == "PUT a 1"
        embedded.stop(signal.SIGKILL)
        embedded.start()
        assert embedded.ok("get", "a").text == "1\n"
        embedded.ok("put", "a", "2")
        assert line_of(watch) == "PUT a 2"


@pytest.mark.parametrize(("command", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_run(command: str, code: int, store: Server) -> None:
    first = store.ok("put", "a", "1").text.strip()
    outcome = kv("--endpoints", store.url, "watch", "a", "--rev", first, "--", command)
    assert (outcome.code, len(outcome.err.splitlines())) == (code, 1)
