"""The verbs as a whole: help, which store is meant, what is imported, completion, one line for each mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hawser.cli import hawser
from hawser.cli.kv import VERBS
from hawser.cli.kv.where import Where, check_shared, split
from hawser.faults import Fault
from tests.wait import until

from .servers import HAWSER, Server, kv


def test_every_verb_of_the_table_is_there_and_a_groups_line_names_its_verbs() -> None:
    context = hawser.make_context("hawser", ["check"])
    group = hawser.get_command(context, "kv")
    assert isinstance(group, click.Group)
    for name, (_, line) in VERBS.items():
        command = group.get_command(context, name)
        assert command is not None
        assert command.help, name
        if isinstance(command, click.Group):
            assert sorted(line.partition(": ")[2].rstrip(".").split(", ")) == sorted(command.commands), name


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("http://a:1", ["http://a:1"]),
        ("a:1,b:2", ["http://a:1", "http://b:2"]),
        ("etcd://a:1,b:2", ["http://a:1", "http://b:2"]),
        ("etcds://a:1,b:2", ["https://a:1", "https://b:2"]),
        ("unix:/run/s", ["unix:///run/s"]),
        ("unix:///run/s", ["unix:///run/s"]),
        (" https://a:1 , ", ["https://a:1"]),
    ],
)
def test_endpoints(text: str, endpoints: list[str]) -> None:
    assert list(split(text)) == endpoints


@pytest.mark.parametrize(
    ("where", "refused"),
    [
        (Where(endpoints=("https://10.0.0.1:2379", "https://10.0.0.2:2379"), own=True), True),
        (Where(endpoints=("https://10.0.0.1:2379",)), False),
        (Where(endpoints=("unix:///run/hawser/kv.sock",), own=True), False),
    ],
)
def test_users_are_not_told_apart_by_accident_where_machines_would_be_shut_out(where: Where, refused: bool) -> None:
    if refused:
        with pytest.raises(Fault, match="shut out") as told:
            check_shared(where)
        assert told.value.kind == "denied"
    else:
        check_shared(where)


def test_options_may_stand_after_the_verb_and_the_last_counts(store: Server) -> None:
    assert kv("put", "a", "1", "--endpoints", store.url).code == 0
    assert kv("--endpoints", "http://127.0.0.1:1", "get", "a", "--endpoints", store.url).text == "1\n"


def test_the_command_line_counts_more_than_the_environment(store: Server) -> None:
    environment = os.environ | {"HAWSER_ENDPOINTS": store.url}
    answer = subprocess.run([HAWSER, "kv", "put", "a", "1"], env=environment, capture_output=True, check=False)
    assert answer.returncode == 0
    environment["HAWSER_ENDPOINTS"] = "http://127.0.0.1:1"
    command = [HAWSER, "kv", "--endpoints", store.url, "get", "a"]
    answer = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert answer.stdout == b"1\n"


def test_a_short_command_imports_neither_aiohttp_nor_the_server(store: Server) -> None:
    script = "import sys; from hawser.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", script, "kv", "--endpoints", store.url, "get", "nothing"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "grpc" in loaded
    assert not {"aiohttp", "rich", "hawser.store.etcd.server", "hawser.node"} & set(loaded)


def test_keys_are_completed(store: Server) -> None:
    for key in ("/app/a", "/app/b", "/other"):
        store.ok("put", key, "x")
    environment = {"HAWSER_ENDPOINTS": store.url, "_HAWSER_COMPLETE": "bash_complete"}
    environment |= {"COMP_WORDS": "hawser kv get /app/", "COMP_CWORD": "3"}

    def offered() -> list[str]:
        answer = subprocess.run([HAWSER], env=environment, capture_output=True, text=True, check=False)
        return answer.stdout.split()

    # it gives up soon, and a busy machine may be late
    until(lambda: offered() == ["plain,/app/a", "plain,/app/b"], timeout=20)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ("gett a", 2, "did you mean: hawser kv get"),
        ("compaction 5", 2, "did you mean: hawser kv compact"),
        ("lease list", 2, "did you mean: hawser kv lease ls"),
        ("get", 2, "KEY"),
        ("get a b --prefix", 2, "--from-key"),
        ("get a --rev 999999", 2, "yet to come"),
        ("get a --sort-by colour", 2, "colour"),
        ("get a --keys-only --count-only", 2, "one of"),
        ("put a 1 --lease xyz", 2, "hex"),
        ("put a 1 --ignore-value", 2, "value"),
        ("put nothing --ignore-value", 2, "nothing"),
        ("put a 1 --fence x", 2, "KEY=REVISION"),
        ("lease grant 0", 2, "0"),
        ("lease grant 99999999999", 2, "9000000000"),
        ("lock", 2, "NAME"),
        ("lock job --", 2, "after --"),
        ("elect job", 2, "VALUE"),
        ("elect --listen job x", 2, "--listen"),
        ("compact 0", 2, "REV"),
        ("member rm zz", 2, "hex"),
        ("snapshot status /no/such/file", 2, "/no/such/file"),
        ("migrate --from sqlite:/nowhere --to unix:/nowhere/s", 3, "/nowhere"),
        ("get a --endpoints nonsense://x", 2, "nonsense"),
        ("get a --endpoints ,", 2, "endpoint"),
        ("get a --endpoints unix:/nowhere/s --timeout 0.3", 5, "/nowhere/s"),
        ("get a --endpoints http://127.0.0.1:1 --timeout 0.3", 5, "refused"),
        ("get a --endpoints http://no.such.host.invalid:1 --timeout 0.3", 5, "no.such.host.invalid"),
        ("get a --cert /etc/passwd", 2, "--key"),
        ("get a --timeout 0", 2, "timeout"),
    ],
)
def test_a_mistake_is_one_line_and_its_code(arguments: str, code: int, word: str, store: Server) -> None:
    outcome = store.kv(*arguments.split())
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (code, b"", 1), outcome
    assert outcome.err.startswith("hawser: ")
    assert word in outcome.err


def test_a_request_that_is_too_large(store: Server) -> None:
    much = 2 << 20
    for key, value, word in (("a", "x" * much, "keep the bulk in files"), ("k" * much, "x", "shorten it")):
        outcome = store.kv("put", key, value)
        assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
        assert word in outcome.err
        assert len(outcome.err) < 1000


def test_output_that_cannot_be_written(store: Server) -> None:
    store.ok("put", "a", "1")
    command = f"{HAWSER} kv --endpoints {store.url} get a"
    full = subprocess.run(["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True, check=False)
    assert (full.returncode, len(full.stderr.splitlines())) == (1, 1)


def test_json_of_every_listing_is_json(store: Server, tmp_path: Path) -> None:
    for line in (
        "get --prefix /",
        "lease ls",
        "member ls",
        "alarm ls",
        "user ls",
        "role ls",
        "status",
        "health",
        "hash",
    ):
        json.loads(store.ok(*line.split(), "--json").text)
