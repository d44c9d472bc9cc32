"""Sysctls of a namespace are the caller's, whichever instance of procfs they are seen through."""

from functools import partial
from pathlib import Path

import pytest

from hawser.netd.drivers import netns, procfs
from hawser.netd.errors import NetError

pytestmark = pytest.mark.root
NAME = "ipv4/ip_forward"


def read() -> str:
    return Path(f"/proc/sys/net/{NAME}").read_text().strip()


def test_each_namespace_has_its_own_however_often_one_is_set(rundir: Path) -> None:
    paths = [rundir / name for name in ("a", "b")]
    for path in paths:
        netns.create(path)
    try:
        for _ in range(procfs.TIMES + 1):
            for value, path in zip("01", paths, strict=True):
                netns.inside(path, partial(netns.sysctl, NAME, value))
            assert [netns.inside(path, read) for path in paths] == ["0", "1"]
    finally:
        for path in paths:
            netns.remove(path)


def test_where_the_kernel_makes_no_instance_proc_does_it(rundir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "_mounted", lambda: None)
    monkeypatch.setattr(netns, "_procfs", procfs.Procfs())
    netns.create(rundir / "a", lambda: netns.sysctl(NAME, "1"))
    try:
        assert netns.inside(rundir / "a", read) == "1"
        with pytest.raises(NetError, match="nosuch"):
            netns.inside(rundir / "a", lambda: netns.sysctl("ipv4/nosuch", "1"))
    finally:
        netns.remove(rundir / "a")
