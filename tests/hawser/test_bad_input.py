"""What the machine refuses: each time one line, the right exit code, and nothing half done."""

import ctypes
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hawser.conftest import HAWSER, NodeProcess, busybox
from tests.wait import until

pytestmark = pytest.mark.root
SLEEP = ("/bin/sleep", "1000000")
FULL = 48 << 20


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line without root's rights."""
    python = str(Path(HAWSER).parent / "python")
    code = f"import os, sys; from hawser.main import main; os.setuid(65534); sys.argv[1:] = {list(arguments)}"
    return subprocess.run(
        [python, "-c", f"{code}; sys.exit(main())"], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    "arguments", [("node", "up", "--data", "/tmp/hw-no", "--run", "/tmp/hw-no"), ("demo",), ("lab", "up")]
)
def test_without_root_it_says_so(arguments: tuple[str, ...]) -> None:
    answer = as_nobody(*arguments)
    assert (answer.returncode, answer.stdout) == (6, "")
    (line,) = answer.stderr.splitlines()
    assert "root" in line
    assert not Path("/tmp/hw-no").exists()


def test_an_exhausted_pool_is_said_and_nothing_is_kept(clean: NodeProcess) -> None:
    assert clean.hawser("net", "create", "--subnet", "10.201.0.0/30", "small").code == 0
    assert clean.hawser("run", "-d", "--net", "small", "--name", "one", "busybox", *SLEEP).code == 0
    outcome = clean.hawser("run", "-d", "--net", "small", "--name", "two", "busybox", *SLEEP)
    assert (outcome.code, outcome.out) == (5, "")
    (line,) = outcome.err.splitlines()
    assert "10.201.0.0/30" in line
    assert [c["name"] for c in clean.client.get("/v1/containers", all=1)] == ["one"]
    assert clean.client.get("/v1/plan") == []
    assert clean.hawser("rm", "-f", "one").code == 0
    assert clean.hawser("run", "-d", "--net", "small", "--name", "two", "busybox", *SLEEP).code == 0


def test_an_interface_name_too_long_for_the_kernel_is_refused(clean: NodeProcess) -> None:
    clean.hawser("run", "-d", "--name", "c", "busybox", *SLEEP)
    outcome = clean.hawser("net", "attach", "--ifname", "x" * 16, "c", "default")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "15" in line


def test_an_unknown_field_is_named(node: NodeProcess) -> None:
    for path in ("/v1/containers", "/v1/networks", "/v1/services"):
        with pytest.raises(Exception, match="colour") as caught:
            node.client.post(path, {"colour": "blue", "image": "busybox", "argv": ["/bin/true"], "name": "x"})
        assert getattr(caught.value, "exit_code", None) == 2


def test_overlapping_subnets_are_refused(clean: NodeProcess) -> None:
    assert clean.hawser("net", "create", "--subnet", "10.202.0.0/24", "one").code == 0
    outcome = clean.hawser("net", "create", "-t", "blue", "--subnet", "10.202.0.128/25", "two")
    assert outcome.code == 4
    (line,) = outcome.err.splitlines()
    assert "overlaps" in line
    assert [network["name"] for network in clean.client.get("/v1/networks")] == ["one"]


def test_a_second_node_with_the_same_run_directory_is_told_so(node: NodeProcess, rundir: Path) -> None:
    command = [HAWSER, "node", "up", "--data", str(rundir / "data"), "--run", str(node.directory / "run")]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert answer.returncode == 4
    (line,) = answer.stderr.splitlines()
    assert "in use" in line
    assert node.client.get("/v1/status")["machine"]


@pytest.fixture
def small_disk(rundir: Path) -> Iterator[NodeProcess]:
    """A node whose data is on a file system of 48 MiB."""
    libc = ctypes.CDLL(None, use_errno=True)
    node = NodeProcess(rundir)
    node.data.mkdir()
    assert libc.mount(b"small", os.fsencode(node.data), b"tmpfs", 0, f"size={FULL}".encode()) == 0
    node.start()
    node.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
    yield node
    node.leave()
    assert libc.umount2(os.fsencode(node.data), 2) == 0


def test_a_full_disk_is_said_and_works_again_when_there_is_space(small_disk: NodeProcess, tmp_path: Path) -> None:
    node, ballast = small_disk, small_disk.data / "ballast"
    image = tmp_path / "image.tar"
    image.write_bytes(busybox())
    assert node.hawser("run", "-d", "--name", "before", "busybox", *SLEEP).code == 0
    pid = node.client.get("/v1/containers/before")["pid"]
    with ballast.open("wb") as stream, pytest.raises(OSError, match="No space"):
        while True:
            stream.write(b"\0" * 4096)
            stream.flush()
    for arguments in (
        ("image", "import", str(image), "again"),
        ("kv", "put", "/big", "x" * 100_000),
        ("run", "-d", "--name", "meanwhile", "busybox", *SLEEP),
    ):
        outcome = node.hawser(*arguments)
        assert (outcome.code, outcome.out) == (5, ""), (arguments, outcome)
        (line,) = outcome.err.splitlines()
        assert "space" in line
    assert [c["name"] for c in node.client.get("/v1/containers", all=1)] == ["before"]
    ballast.unlink()
    assert node.hawser("image", "import", str(image), "again").code == 0
    assert node.hawser("kv", "put", "/big", "x" * 100_000).code == 0
    assert node.hawser("run", "-d", "--name", "after", "busybox", *SLEEP).code == 0
    until(lambda: node.client.get("/v1/plan") == [], what="an empty plan")
    node.kill()
    node.start()
    assert node.client.get("/v1/containers/before")["pid"] == pid
    assert node.hawser("kv", "get", "/big").code == 0
