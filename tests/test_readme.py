"""What README says is so: its Python runs, its commands exist with the options it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hawser.cli import hawser

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line for kind, text in BLOCKS if not kind for line in text.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("#")[0].rstrip("& ").split(";")]
    return [part for part in parts if re.match(r"hawser [a-z]", part)]


@pytest.mark.parametrize("line", commands())
def test_a_command_can_be_parsed(line: str) -> None:
    command: click.Command = hawser
    arguments = shlex.split(line)[1:]
    context = hawser.make_context("hawser", ["check"])
    while isinstance(command, click.Group):
        found = command.get_command(context, arguments.pop(0))
        assert found is not None, line
        command = found
    # files that set-up or earlier lines make need not be there
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type = click.STRING
    assert command.make_context(line, arguments) is not None


@pytest.mark.root
def test_its_python_runs() -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "10.0.0.0/8" in answer.stdout
