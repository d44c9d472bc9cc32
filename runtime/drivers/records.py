"""The files of a container: one directory, `containers/<id>`, that appears and disappears by a rename.

`spec.json` what was asked for · `state.json` which processes it is (of which boot) · `exit.json` how it ended · `log`,
`log.1` · `lock`, held by its shim · `upper`, `work` its layer · `root` where its root is mounted, in its own namespace
only · `resolv.conf`, `hosts`. `.new-*` and `.old-*` were being made or removed when the node died, and go. A created
container survives the end of the node; it is not synced to the disk, so a loss of power may take it. What cannot be
read is `Unreadable`, never nothing: a container is not gone because a disk fails or descriptors run out.
"""

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from ..model import ContainerSpec, Exit
from . import shim
from .removal import remove_tree

T = TypeVar("T")
HALF = (".new-", ".old-")
HOSTS_MAX = 1 << 20


class Unreadable(Exception):
    """A file of a container that is there, or may be, and does not say anything; the text says why.

    `torn`: it was read and is no record, as after a loss of power or from another version.
    """

    def __init__(self, reason: str, *, torn: bool) -> None:
        super().__init__(reason)
        self.torn = torn


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was asked for: the spec, the layer its image's name meant then, when."""

    spec: ContainerSpec
    layer: str | None
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Which processes it is: ids and start times (clock ticks since the boot named `boot`)."""

    boot: str
    shim: int
    shim_start: int
    pid: int
    pid_start: int
    started: float


class Shelf:
    """The directories of all containers below `root`. Errors are OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def claim(self) -> int:
        """Take the directory for one node, while the descriptor is open; BlockingIOError when another has it."""
        lock = os.open(self.root.parent / "containers.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        return lock

    def place(self, container: str) -> Path:
        """The directory of a container."""
        return self.root / container

    def put(self, record: Record, base: int) -> None:
        """Make a container's directory, whole or not at all."""
        fresh = self.root / f".new-{record.spec.id}-{time.time_ns()}"
        try:
            fresh.mkdir(mode=0o700)
            (fresh / "spec.json").write_bytes(msgspec.json.encode(record))
            shim.reserve(str(fresh))
            if record.layer is not None:
                for name in ("upper", "work", "root"):
                    (fresh / name).mkdir(mode=0o755)
                os.chown(fresh / "upper", base, base)
            for name, text in (("resolv.conf", record.spec.dns), ("hosts", record.spec.hosts)):
                if text is not None:
                    (fresh / name).write_text(text)
                    os.chown(fresh / name, base, base)
            fresh.rename(self.place(record.spec.id))
        except OSError:
            with contextlib.suppress(OSError):
                remove_tree(fresh)
            raise

    def hosts(self, container: str) -> str | None:
        """Its hosts file as it is; None when it has none, or it has become too large. OSError."""
        try:
            with open(self.place(container) / "hosts", "rb") as file:
                text = file.read(HOSTS_MAX + 1)
        except FileNotFoundError:
            return None
        return text.decode(errors="surrogateescape") if len(text) <= HOSTS_MAX else None

    def set_hosts(self, container: str, text: str) -> None:
        """Write its hosts file anew, in place: a container that runs has this very file mounted. OSError."""
        data = text.encode(errors="surrogateescape")
        with open(self.place(container) / "hosts", "r+b") as file:
            file.write(data)
            file.truncate()

    def hide(self, container: str) -> Path:
        """Make a container's directory nobody's, at once; what is left is to delete it."""
        old = self.root / f".old-{container}-{time.time_ns()}"
        self.place(container).rename(old)
        return old

    def names(self) -> tuple[list[str], list[str]]:
        """Containers (and whatever else is there), and what we left half made or half removed."""
        entries = sorted(entry.name for entry in os.scandir(self.root))
        return [n for n in entries if not n.startswith(HALF)], [n for n in entries if n.startswith(HALF)]

    def record(self, container: str) -> Record:
        """What was asked for. Unreadable."""
        record = self._load(container, "spec.json", Record)
        if record is None:
            raise Unreadable("spec.json is missing", torn=True)
        if record.spec.id != container:
            raise Unreadable(f"spec.json is that of {record.spec.id}", torn=True)
        return record

    def running(self, container: str) -> Running | None:
        """Which processes it is or was; None when it never ran. Unreadable."""
        return self._load(container, "state.json", Running)

    def exit(self, container: str) -> Exit | None:
        """How it ended, if it did. Unreadable."""
        return self._load(container, "exit.json", Exit)

    def bury(self, container: str, exit_: Exit) -> None:
        """Write how it ended, if its shim could not."""
        place = self.place(container)
        with contextlib.suppress(OSError):
            with open(os.open(place / "exit.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as fresh:
                fresh.write(msgspec.json.encode(exit_))  # over its reserved blocks
                fresh.truncate()
            os.rename(place / "exit.new", place / "exit.json")

    def held(self, container: str) -> bool:
        """Whether a shim looks after the container."""
        try:
            lock = os.open(self.place(container) / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _load(self, container: str, name: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode((self.place(container) / name).read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(f"{name}: {error.strerror}", torn=False) from error
        except msgspec.MsgspecError as error:
            raise Unreadable(f"{name} is no record: {error}", torn=True) from error


def decode_running(document: str) -> Running:
    """A shim's answer to its start: the text of state.json."""
    return msgspec.json.decode(document, type=Running)
