"""A tiny image of busybox, imported once, and runtimes that leave nothing behind."""

# ruff: noqa: ASYNC240

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.images import Images
from tests.runtime.tools import BOX, Tar, cgroups_of


@pytest.fixture(scope="session")
def box() -> bytes:
    """A root file system of busybox, as a tarball."""
    tar = Tar()
    for name in ("bin", "dev", "etc", "proc", "sys"):
        tar.folder(name)
    tar.folder("tmp", mode=0o1777)
    tar.folder("home", uid=1000)
    tar.file("bin/busybox", Path(BOX).read_bytes(), mode=0o755)
    for name in tar.APPLETS:
        tar.link(f"bin/{name}", "busybox")
    tar.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n")
    tar.file("etc/group", b"root:x:0:\nweb:x:1000:\nlogs:x:40:web\n")
    tar.file("bin/notes", b"no program", mode=0o644)
    tar.file("bin/orphan", b"#!/nowhere/sh\n", mode=0o755)
    return tar.bytes()


@pytest.fixture(scope="session")
def images(box: bytes, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """A library with the image `box`."""
    library = Images(tmp_path_factory.mktemp("images"))
    library.import_tar(io.BytesIO(box), "box")
    return library


@pytest.fixture
async def runtime(rundir: Path, instance: str, images: Images) -> AsyncIterator[Runtime]:
    """An open runtime; afterwards everything of it is gone, which is checked."""
    runtime = Runtime(rundir / "data", rundir / "run", instance, images)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.teardown()
    assert cgroups_of(instance) == []
    assert str(rundir) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def tarball() -> Tar:
    """An empty tarball to fill."""
    return Tar()
