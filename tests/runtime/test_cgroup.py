"""Limits become files of whichever hierarchy has the controller."""

import pytest

from hawser.runtime.cgroup import Hierarchy, find, keepers, mounts, settings, tracking
from hawser.runtime.errors import Unavailable
from hawser.runtime.model import Limits

V1 = "30 25 0:26 / /sys/fs/cgroup/{0} rw shared:9 - cgroup cgroup rw,{0}"
V2 = "40 25 0:36 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
HYBRID = [V1.format(name) for name in ("cpu", "memory", "pids", "freezer")]
HYBRID.append("41 25 0:37 / /sys/fs/cgroup/unified rw - cgroup2 none rw")
ALL = Limits(cpu=1.5, memory=64 << 20, pids=10)


def test_version_1_has_a_tree_for_each() -> None:
    found = find(HYBRID, {"/sys/fs/cgroup/unified": "hugetlb\n"})
    assert settings(ALL, found) == {
        "/sys/fs/cgroup/pids": [("pids.max", "10")],
        "/sys/fs/cgroup/cpu": [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")],
        "/sys/fs/cgroup/memory": [
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "67108864"),
        ],
    }


def test_version_2_has_one_tree() -> None:
    found = find([V2], {"/sys/fs/cgroup": "cpuset cpu io memory pids\n"})
    assert settings(ALL, found) == {
        "/sys/fs/cgroup": [
            ("cpu.max", "150000 100000"),
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("pids.max", "10"),
        ]
    }
    assert mounts(found) == {"/sys/fs/cgroup": ("cpu", "memory", "pids")}


def test_a_controller_of_version_2_beside_version_1_is_used_where_it_is() -> None:
    found = find([V1.format("memory"), V2], {"/sys/fs/cgroup": "pids"})
    assert found["pids"] == Hierarchy("/sys/fs/cgroup", 2)
    assert found["memory"] == Hierarchy("/sys/fs/cgroup/memory", 1)


def test_a_container_without_limits_is_in_one_tree() -> None:
    assert settings(Limits(), find(HYBRID, {})) == {"/sys/fs/cgroup/pids": []}
    assert settings(Limits(), find([V2], {})) == {"/sys/fs/cgroup": []}
    assert settings(Limits(), find([V1.format("freezer")], {})) == {"/sys/fs/cgroup/freezer": []}


def test_a_limit_without_controller_is_refused_by_name() -> None:
    with pytest.raises(Unavailable, match="no cgroup controller for memory"):
        settings(Limits(memory=64 << 20), find([V2], {"/sys/fs/cgroup": "pids"}))


def test_a_machine_without_cgroups_is_refused() -> None:
    with pytest.raises(Unavailable, match="no cgroup hierarchy is mounted"):
        tracking(find(["22 1 8:1 / / rw - ext4 /dev/vda rw"], {}))


def test_the_trees_of_a_service_manager() -> None:
    assert keepers(find([V2], {})) == ("/sys/fs/cgroup",)
    assert keepers(find(["31 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd"], {})) == (
        "/sys/fs/cgroup/systemd",
    )
    assert keepers(find([V1.format("freezer")], {})) == ()
