"""The plugin as a runtime starts it: a process of its own with CNI_* variables and JSON on standard input."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGIN = [sys.executable, "-m", "hawser.cni.main"]
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a call ended; `document` is None when nothing was printed."""

    code: int
    document: dict[str, Any] | None
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """What a call that succeeded printed."""
        assert self.code == 0, self
        assert self.document is not None
        return self.document

    @property
    def error(self) -> tuple[int, str]:
        """Code and message of a call that failed."""
        assert self.code == 1, self
        assert self.document is not None
        assert set(self.document) == {"cniVersion", "code", "msg"}
        assert "\n" not in self.document["msg"]
        assert self.err == ""
        return self.document["code"], self.document["msg"]

    @property
    def nothing(self) -> bool:
        """Whether it succeeded without a word."""
        return (self.code, self.document, self.err) == (0, None, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """Calls with one socket of a node."""

    socket: Path

    def config(self, **more: Any) -> dict[str, Any]:
        """A network configuration; a key with value ... is left out."""
        plain: dict[str, Any] = {
            "cniVersion": "1.1.0",
            "name": "blue-web",
            "type": "hawser-cni",
            "socket": str(self.socket),
        }
        plain |= {"tenant": "blue", "network": "web"} | more
        return {key: value for key, value in plain.items() if value is not ...}

    def call(self, command: str | None, config: Mapping[str, Any] | bytes = b"", **variables: str | None) -> Answer:
        """One call to its end. `variables` without CNI_; None leaves one out."""
        call = self.start(command, config, **variables)
        return finish(call)

    def start(
        self, command: str | None, config: Mapping[str, Any] | bytes = b"", **variables: str | None
    ) -> "subprocess.Popen[bytes]":
        """Begin a call; it has its standard input."""
        given = {"CNI_COMMAND": command} | {f"CNI_{name}": value for name, value in variables.items()}
        environment = {name: value for name, value in given.items() if value is not None}
        environment |= {"PATH": os.environ["PATH"]}
        pipe = subprocess.PIPE
        process = subprocess.Popen(PLUGIN, env=environment, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        process.stdin.write(config if isinstance(config, bytes) else json.dumps(config).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def one(self, command: str, netns: Path | str | None, ifname: str = "eth0", id: str = "c1", **more: Any) -> Answer:
        """A call about one interface of a container."""
        where = None if netns is None else str(netns)
        return self.call(command, self.config(**more), CONTAINERID=id, NETNS=where, IFNAME=ifname)


def finish(call: "subprocess.Popen[bytes]") -> Answer:
    """Wait for a call's end."""
    out, err = call.communicate(timeout=60)
    return Answer(code=call.returncode, document=json.loads(out) if out else None, err=err.decode())
