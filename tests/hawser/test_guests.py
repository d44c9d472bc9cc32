"""Whether a namespace lives is for the kernel to say: by its processes, or by the path that leads to it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.guests import BY_PATH, ended, holder, inside, same
from hawser.netd.drivers import netns

pytestmark = pytest.mark.root


@pytest.fixture
def kept(rundir: Path) -> Iterator[Path]:
    """A namespace as the node keeps it, brought by the path `source` beside it."""
    source, path = rundir / "source", rundir / "kept"
    netns.create_here(source, netns.lo_up)
    netns.keep(source, path)
    yield path
    for each in (source, path):
        netns.remove(each)


def test_the_path_holds_it(kept: Path) -> None:
    source = kept.with_name("source")
    assert same(kept, source)
    assert holder(kept, source) == BY_PATH
    netns.remove(source)
    assert holder(kept, source) is None, "the node's own mount counts for nothing"


def test_another_namespace_at_the_path_is_not_it(kept: Path) -> None:
    source = kept.with_name("source")
    netns.remove(source)
    netns.create_here(source, netns.lo_up)
    assert holder(kept, source) is None


def test_a_process_holds_it(kept: Path) -> None:
    netns.remove(kept.with_name("source"))
    with subprocess.Popen(["nsenter", f"--net={kept}", "sleep", "1000000"]) as process:
        try:
            while holder(kept, kept) is None:
                assert process.poll() is None
            assert list(inside(kept)) == [process.pid]
            assert holder(kept, kept) == process.pid
            pidfd = os.pidfd_open(process.pid)
            assert not ended(pidfd)
        finally:
            process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert ended(pidfd), "a zombie is in no namespace"
        assert holder(kept, kept) is None
        os.close(pidfd)


def test_what_is_no_namespace_is_held_by_nobody(rundir: Path) -> None:
    (rundir / "file").touch()
    assert holder(rundir / "file", rundir / "file") is None
    assert holder(rundir / "nothing", rundir / "nothing") is None
