"""What the machine refuses: each time one line, the right exit code, and nothing half done."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hawser.conftest import HAWSER, NodeProcess, busybox

pytestmark = pytest.mark.root
SLEEP = ("/bin/sleep", "1000000")


AS_NOBODY = """
import os, sys
from importlib import import_module
from hawser import cli, main
# the checkout may be where only root can read: everything is loaded before the rights go
for module in [spec.partition(":")[0] for spec, _ in cli.COMMANDS.values()]:
    import_module(module)
for module in ("hawser.demo.main", "hawser.output", "hawser.serve"):
    import_module(module)
os.setuid(65534)
sys.exit(main.main())
"""


def as_nobody(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line without root's rights."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_another_user_may_not_speak_to_the_node(node: NodeProcess) -> None:
    node.socket.chmod(0o666)
    node.socket.parent.chmod(0o755)
    answer = as_nobody("net", "ls", HAWSER_SOCKET=str(node.socket))
    assert (answer.returncode, answer.stdout) == (6, "")
    (line,) = answer.stderr.splitlines()
    assert "65534" in line


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
    outcome = clean.hawser("net", "create", "--subnet", "10.202.0.128/25", "two")
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
def overlaid(rundir: Path) -> Iterator[NodeProcess]:
    """A node whose data directory is itself an overlay: no overlay can stand on it (EINVAL, fs/overlayfs/super.c)."""
    for name in ("lower", "upper", "work", "data"):
        (rundir / name).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "scratch", rundir / "upper"], check=True)
    for name in ("u", "w"):
        (rundir / "upper" / name).mkdir()
    options = f"lowerdir={rundir}/lower,upperdir={rundir}/upper/u,workdir={rundir}/upper/w"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, rundir / "data"], check=True)
    node = NodeProcess(rundir)
    node.start()
    node.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
    yield node
    node.leave()
    for name in ("data", "upper"):
        subprocess.run(["umount", rundir / name], check=True)


def test_where_overlayfs_refuses_it_is_said_and_nothing_is_kept(overlaid: NodeProcess) -> None:
    outcome = overlaid.hawser("run", "-d", "--name", "c", "busybox", *SLEEP)
    assert (outcome.code, outcome.out) == (5, "")
    (line,) = outcome.err.splitlines()
    assert "overlay" in line
    assert overlaid.client.get("/v1/containers", all=1) == []
    assert overlaid.client.get("/v1/plan") == []
