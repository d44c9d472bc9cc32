"""A disk that is full: every command says so in one line and leaves nothing half done; with space, all goes on."""

import io
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hawser.conftest import NodeProcess, busybox
from tests.wait import until

pytestmark = pytest.mark.root
SLEEP = ("/bin/sleep", "1000000")
UNIT = "[Service]\nExecStart=/bin/sleep 1000000\nRestart=always\n"


@pytest.fixture
def small(rundir: Path) -> Iterator[NodeProcess]:
    """A node whose data directory has 12 MiB, with a running container `c` and a stopped one, `s`."""
    data = rundir / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(data)], check=True)
    node = NodeProcess(rundir)
    node.start()
    node.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
    for name in ("c", "s"):
        node.client.post("/v1/containers", {"image": "busybox", "argv": SLEEP, "name": name})
    node.client.post("/v1/containers/s/stop", {"timeout": 0})
    node.client.put("/v1/units/u.service", {"text": UNIT})
    yield node
    (data / "fill").unlink(missing_ok=True)
    node.leave()
    subprocess.run(["umount", str(data)], check=True)


def fill(node: NodeProcess) -> None:
    with (node.data / "fill").open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_a_full_disk_is_one_line_and_nothing_is_half_done(small: NodeProcess, tmp_path: Path) -> None:
    tarball = tmp_path / "image.tar"
    tarball.write_bytes(busybox())
    pid = small.client.get("/v1/containers/c")["pid"]
    before = (small.client.get("/v1/containers", all=1), small.client.get("/v1/networks"))
    commands = [
        ("image", "import", str(tarball), "two"),
        ("run", "-d", "busybox", *SLEEP),
        ("kv", "put", "/a", "b"),
        ("net", "create", "other"),
        ("unit", "start", "u.service"),
    ]
    fill(small)
    for command in commands:
        outcome = small.hawser(*command)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (5, "", 1), (command, outcome)
    assert (small.client.get("/v1/containers", all=1), small.client.get("/v1/networks")) == before
    started = small.hawser("start", "s").code
    assert started in (0, 5)  # what its last run has left may be room enough
    assert (small.client.get("/v1/containers/s")["pid"] is not None) == (started == 0)
    pids = [small.client.get(f"/v1/containers/{name}")["pid"] for name in ("c", "s")]
    small.kill()
    small.start()
    assert pids[0] == pid
    assert [small.client.get(f"/v1/containers/{name}")["pid"] for name in ("c", "s")] == pids
    (small.data / "fill").unlink()
    for command in commands:
        assert small.hawser(*command).code == 0, command
    until(lambda: small.state("u.service") == "active", what="the unit")
    until(lambda: small.client.get("/v1/plan") == [], what="an empty plan")


def test_an_image_that_does_not_fit_leaves_no_trace(small: NodeProcess, tmp_path: Path) -> None:
    import tarfile

    tarball = tmp_path / "big.tgz"
    with tarfile.open(tarball, "w:gz") as tar:
        entry = tarfile.TarInfo("zeros")
        entry.size = 32 << 20
        tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    outcome = small.hawser("image", "import", str(tarball), "big")
    assert (outcome.code, len(outcome.err.splitlines())) == (5, 1)
    assert "space" in outcome.err
    assert list((small.data / "images" / "incoming").iterdir()) == []
    assert small.hawser("run", "--rm", "busybox", "/bin/true").code == 0
