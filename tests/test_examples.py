"""The examples do what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

from hawser.sched.compile import compile_unit

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.service")), ids=lambda file: file.name)
def test_unit_files_are_accepted(file: Path) -> None:
    name = file.name.replace("@.", "@1.")
    assert compile_unit(name, file.read_text()).description


@pytest.mark.root
def test_the_lab_runs() -> None:
    answer = subprocess.run(
        [sys.executable, EXAMPLES / "lab.py"], capture_output=True, text=True, timeout=60, check=True
    )
    first, second = answer.stdout.splitlines()
    assert first == "12 of 12 pings came back"
    assert second == f"h1 reads from h3: {Path('/etc/hostname').read_text().strip()}"
