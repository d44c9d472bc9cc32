"""A fake node, the plugin that speaks to it, and containers' network namespaces."""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hawser.netd.drivers import netns

from .fake import FakeNode, running
from .plugin import Plugin

Make = Callable[[], Path]


@pytest.fixture
def fake(rundir: Path) -> Iterator[FakeNode]:
    with running(FakeNode(socket=rundir / "node.sock")) as node:
        yield node


@pytest.fixture
def plugin(fake: FakeNode) -> Plugin:
    return Plugin(socket=fake.socket)


@pytest.fixture
def namespaces(rundir: Path) -> Iterator[Make]:
    """Makes containers' namespaces, as a runtime does; removes those that are left."""
    numbers, made = itertools.count(), list[Path]()

    def make() -> Path:
        made.append(rundir / f"ns{next(numbers)}")
        netns.create_here(made[-1], netns.lo_up)
        return made[-1]

    yield make
    for path in made:
        netns.remove(path)


@pytest.fixture
def container(namespaces: Make) -> Path:
    """One container's namespace."""
    return namespaces()


def inside(path: Path, *command: str) -> str:
    """Run a command in a namespace; what it prints."""
    whole = ["nsenter", f"--net={path}", *command]
    return subprocess.run(whole, check=True, capture_output=True, text=True, timeout=10).stdout
