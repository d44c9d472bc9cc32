"""The command line by itself: help, completion, one line and an exit code for each mistake."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from hawser.cli import COMMANDS, hawser, run
from hawser.main import main


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A socket where no node answers."""
    path = tmp_path / "no.sock"
    monkeypatch.setenv("HAWSER_SOCKET", str(path))
    return path


def test_every_listed_command_exists_and_says_what_the_listing_says() -> None:
    context = hawser.make_context("hawser", ["check"])
    for name in COMMANDS:
        command = hawser.get_command(context, name)
        assert command is not None, name
        assert command.help, name


@pytest.mark.parametrize("name", ["image", "kv", "lab", "net", "node", "svc", "unit"])
def test_a_nouns_help_line_names_exactly_its_verbs(name: str) -> None:
    context = hawser.make_context("hawser", ["check"])
    group = hawser.get_command(context, name)
    assert isinstance(group, click.Group)
    listed = COMMANDS[name][1].partition(": ")[2].rstrip(".").split(", ")
    assert sorted(listed) == sorted(group.list_commands(context))


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ps"],
        ["ps", "--json"],
        ["net", "ls"],
        ["unit", "ls"],
        ["kv", "get", "a"],
        ["svc", "ls"],
        ["image", "ls"],
        ["plan"],
        ["node", "status"],
        ["run", "base", "true"],
    ],
)
def test_without_a_node_there_is_one_line_that_says_what_to_do(
    arguments: Sequence[str], nobody: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["hawser", *arguments])
    assert main() == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"hawser: no node answers at {nobody} (No such file or directory); start one: hawser node up"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["ps", "--nonsense"],
        ["run"],
        ["run", "--cpus", "0", "base", "true"],
        ["run", "-e", "NOEQUALS", "base", "true"],
        ["net", "create", "--mtu", "1", "x"],
        ["kv", "lease", "grant", "0"],
        ["completion", "tcsh"],
        ["plan", "nowhere"],
        ["unit", "submit", "/no/such/file"],
    ],
)
def test_a_mistake_is_a_usage_error(
    arguments: Sequence[str], nobody: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["hawser", *arguments])
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hawser: ")
    assert line.endswith(" --help")


@pytest.mark.parametrize(
    ("word", "hint"), [("images", "image ls"), ("inspect", "show"), ("nett", "net"), ("xyzzy", "")]
)
def test_words_of_other_tools_are_understood_enough(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([word]) == 2
    err = capsys.readouterr().err
    assert f"no command {word}" in err
    assert ("did you mean: hawser " + hint in err) if hint else ("did you mean" not in err)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_complete_with_this_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_HAWSER_COMPLETE" in capsys.readouterr().out


def test_completion_offers_nouns_and_verbs() -> None:
    environment = {"_HAWSER_COMPLETE": "bash_complete", "COMP_WORDS": "hawser net c", "COMP_CWORD": "2"}
    program = str(Path(sys.executable).parent / "hawser")
    answer = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    assert "plain,create" in answer.stdout


@pytest.fixture
def strange(rundir: Path) -> Iterator[Path]:
    """A socket where something answers that is no node."""
    with socket.create_server(str(rundir / "s"), family=socket.AF_UNIX) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n[1]")

        thread = threading.Thread(target=answer)
        thread.start()
        yield rundir / "s"
        thread.join()


@pytest.mark.parametrize("debug", [False, True])
def test_a_defect_is_one_line_and_has_a_traceback_only_with_debug(
    debug: bool, strange: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--socket", str(strange), *(["--debug"] if debug else []), "net", "ls"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("hawser: unexpected TypeError")
    assert ("Traceback" in err) is debug


def test_the_systemd_unit_runs_this_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["node", "unit"]) == 0
    text = capsys.readouterr().out
    assert "@HAWSER@" not in text
    assert "KillMode=process" in text
    assert "ExecStart=/" in text
