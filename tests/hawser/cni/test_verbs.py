"""What the verbs ask of the node, where a process and a socket would only stand in the way."""

import subprocess
import sys
from typing import Any

import pytest

from hawser.cni import verbs
from hawser.cni.config import Config, Request
from hawser.faults import Fault

CONFIG = Config("1.1.0", "blue-web", tenant="blue", network="web")
ADD = Request("ADD", "c1", "/run/netns/c1", "eth0", CONFIG)
HEAVY = {
    "click",
    "rich",
    "pyroute2",
    "aiohttp",
    "asyncio",
    "msgspec",
    "dataclasses",
    "inspect",
    "hashlib",
    "ctypes",
    "pathlib",
}


class Node:
    """Answers a POST as it is told, and notes what is removed."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.removed: list[tuple[str, dict[str, object]]] = []

    def get(self, path: str, **query: object) -> Any:
        raise AssertionError(path)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def delete(self, path: str, **query: object) -> Any:
        self.removed.append((path, query))


class Anywhere:
    """Every namespace is one."""

    def check(self, path: str) -> None:
        pass

    def look(self, path: str, ifname: str) -> verbs.Seen | None:
        raise AssertionError(path)


@pytest.mark.parametrize("answer", [TimeoutError("timed out"), {"mac": "half a document"}, KeyboardInterrupt()])
def test_an_add_that_cannot_be_told_of_is_taken_back(answer: object) -> None:
    node = Node(answer)
    with pytest.raises((TimeoutError, KeyError, KeyboardInterrupt)):
        verbs.run(ADD, node, Anywhere())
    path = f"/v1/attachments/{verbs.sandbox_of('c1')}/eth0"
    assert node.removed == [(path, {"owner": "cni", "network": "blue-web"})]


@pytest.mark.parametrize("kind", ["conflict", "unavailable", "usage"])
def test_an_add_that_the_node_refused_takes_nothing_away(kind: str) -> None:
    node = Node(Fault("no", kind))
    with pytest.raises(Fault):
        verbs.run(ADD, node, Anywhere())
    assert node.removed == []


def test_a_sandbox_s_id_is_a_label_for_any_container() -> None:
    ids = {verbs.sandbox_of(container) for container in ("c1", "c2", "x" * 1000, "A_b.c-d")}
    assert len(ids) == 4
    assert verbs.sandbox_of("c1") == "cni-d0f631ca1ddba8db3bcfcb9e"


def test_a_long_name_is_still_one_name() -> None:
    long = "n" * 300
    assert verbs.bounded("n" * 255) == "n" * 255
    assert verbs.bounded(long) == verbs.bounded(long) != verbs.bounded(f"{long}n")
    assert len(verbs.bounded(long)) <= 255


def test_the_plugin_imports_little() -> None:
    script = "import sys, hawser.cni.main; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("hawser.")} == {
        *("hawser.client", "hawser.faults", "hawser.paths", "hawser.cni", "hawser.cni.main", "hawser.cni.config"),
        *("hawser.cni.errors", "hawser.cni.fields", "hawser.cni.namespace", "hawser.cni.result", "hawser.cni.verbs"),
        "hawser.cni.wishes",
    }
