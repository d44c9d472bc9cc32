"""What the runtime's tests share: tarballs, specs, a look at the machine."""

import asyncio
import glob
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from hawser.runtime.agent import Runtime
from hawser.runtime.model import ContainerSpec, Exit

BOX = "/bin/busybox"


class Tar:
    """A tarball in the making."""

    APPLETS = (
        *("sh", "true", "false", "cat", "ls", "id", "sleep", "mount", "umount", "mknod", "kill", "hostname", "head"),
        *("dd", "ps", "touch", "wc", "grep", "chmod", "ln", "mkdir", "echo", "env", "pwd", "readlink", "yes", "nc"),
        *("unshare", "stat", "mkfifo", "rm"),
    )

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w")  # noqa: SIM115 - closed in bytes()

    def add(self, name: str, kind: bytes, data: bytes = b"", **fields: Any) -> None:
        """A member as given, however bad."""
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.mode = kind, len(data), 0o644
        for key, value in fields.items():
            setattr(entry, key, value)
        self._tar.addfile(entry, io.BytesIO(data))

    def folder(self, name: str, *, mode: int = 0o755, uid: int = 0) -> None:
        self.add(name, tarfile.DIRTYPE, mode=mode, uid=uid, gid=uid)

    def file(self, name: str, data: bytes = b"", *, mode: int = 0o644) -> None:
        self.add(name, tarfile.REGTYPE, data, mode=mode)

    def link(self, name: str, target: str) -> None:
        self.add(name, tarfile.SYMTYPE, linkname=target, mode=0o777)

    def hardlink(self, name: str, target: str) -> None:
        self.add(name, tarfile.LNKTYPE, linkname=target)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()

    def stream(self) -> io.BytesIO:
        return io.BytesIO(self.bytes())


def spec(*argv: str, id: str = "c", image: str | None = "box", **fields: Any) -> ContainerSpec:
    return ContainerSpec(id=id, image=image, argv=argv, **fields)


def shell(script: str, **fields: Any) -> ContainerSpec:
    return spec("/bin/sh", "-c", script, **fields)


async def run(runtime: Runtime, wanted: ContainerSpec) -> tuple[Exit, list[str]]:
    """Run a container to its end: how it ended, and the lines of its standard output."""
    await runtime.create(wanted)
    await runtime.start(wanted.id)
    ended = await runtime.wait(wanted.id)
    return ended, [line.text async for line in runtime.logs(wanted.id) if line.stream == "stdout"]


async def succeeds(runtime: Runtime, script: str, id: str = "c") -> None:
    """Wait until a command in the container has exit code 0, at most 5 s."""
    async with asyncio.timeout(5):
        while (await runtime.execute(id, ["/bin/sh", "-c", script])).code:
            continue


def cgroups_of(instance: str) -> list[str]:
    """Control groups that carry the mark of a node."""
    found = glob.glob(f"/sys/fs/cgroup/*/hawser/{instance}") + glob.glob(f"/sys/fs/cgroup/hawser/{instance}")
    return sorted(path for place in found for path, _, _ in os.walk(place))


def state(data: Path, id: str = "c") -> dict[str, Any]:
    """The processes of a container, as its shim wrote them."""
    document: dict[str, Any] = json.loads((data / "containers" / id / "state.json").read_text())
    return document


def exists(pid: int) -> bool:
    """Whether the process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
