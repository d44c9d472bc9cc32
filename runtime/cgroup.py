"""Which files say a limit, in both versions of the hierarchy; pure.

Version 1 has a tree a controller, version 2 one tree (cgroups(7); kernel admin-guide/cgroup-v1, cgroup-v2). A machine
may have both; each controller is used where it is mounted. Every container is in one tree at least, so that all its
processes can be found and killed: that of pids, else version 2, else any.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import Unavailable
from .model import Limits

PERIOD = 100_000
WANTED = ("cpu", "memory", "pids")
TRACKING = ("pids", "unified", "any")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where a controller lives."""

    mount: str
    version: int


def find(mountinfo: Iterable[str], controllers: Mapping[str, str]) -> dict[str, Hierarchy]:
    """Hierarchies by controller from /proc/self/mountinfo lines; `controllers` maps a version-2 mount to its
    `cgroup.controllers`. `unified` is the version-2 tree itself, `systemd` and `any` are version-1 trees."""
    found: dict[str, Hierarchy] = {}
    for line in mountinfo:
        before, _, after = line.partition(" - ")
        mount, (kind, _, options) = before.split()[4], after.split(" ", 2)
        if kind == "cgroup":
            names = options.strip().split(",")
            found |= {name: Hierarchy(mount, 1) for name in WANTED if name in names}
            found.setdefault("any", Hierarchy(mount, 1))
            if "name=systemd" in names:
                found["systemd"] = Hierarchy(mount, 1)
        elif kind == "cgroup2":
            names = controllers.get(mount, "").split()
            found = {name: Hierarchy(mount, 2) for name in WANTED if name in names} | found
            found["unified"] = Hierarchy(mount, 2)
    return found


def settings(limits: Limits, hierarchies: Mapping[str, Hierarchy]) -> dict[str, list[tuple[str, str]]]:
    """For each hierarchy's mount, the files to write, in order. Unavailable when a limit has no controller."""
    wanted = {"cpu": limits.cpu, "memory": limits.memory, "pids": limits.pids}
    files: dict[str, list[tuple[str, str]]] = {tracking(hierarchies).mount: []}
    for name, value in wanted.items():
        if value is None:
            continue
        if name not in hierarchies:
            raise Unavailable(f"no cgroup controller for {name} on this machine; run without that limit")
        hierarchy = hierarchies[name]
        files.setdefault(hierarchy.mount, []).extend(_files(name, value, hierarchy.version))
    return files


def tracking(hierarchies: Mapping[str, Hierarchy]) -> Hierarchy:
    """The tree every container is in. Unavailable on a machine without cgroups."""
    for name in TRACKING:
        if name in hierarchies:
            return hierarchies[name]
    raise Unavailable("no cgroup hierarchy is mounted on this machine; mount one: mount -t cgroup2 none /sys/fs/cgroup")


def mounts(hierarchies: Mapping[str, Hierarchy]) -> dict[str, tuple[str, ...]]:
    """Every tree that containers may be in, with the controllers to hand down in it (version 2 only)."""
    used = {tracking(hierarchies).mount: tracking(hierarchies).version}
    used |= {hierarchies[name].mount: hierarchies[name].version for name in WANTED if name in hierarchies}
    return {
        mount: tuple(name for name in WANTED if version == 2 and hierarchies.get(name) == Hierarchy(mount, 2))
        for mount, version in sorted(used.items())
    }


def keepers(hierarchies: Mapping[str, Hierarchy]) -> tuple[str, ...]:
    """Mounts of the trees by which a service manager says whose a process is (version 2, or the named one)."""
    return tuple(hierarchies[name].mount for name in ("unified", "systemd") if name in hierarchies)


def _files(name: str, value: float, version: int) -> list[tuple[str, str]]:
    if name == "cpu":
        quota = str(int(value * PERIOD))
        if version == 2:
            return [("cpu.max", f"{quota} {PERIOD}")]
        return [("cpu.cfs_period_us", str(PERIOD)), ("cpu.cfs_quota_us", quota)]
    if name == "memory":
        if version == 2:
            return [("memory.max", str(int(value))), ("memory.swap.max", "0")]
        return [("memory.limit_in_bytes", str(int(value))), ("memory.memsw.limit_in_bytes", str(int(value)))]
    return [("pids.max", str(int(value)))]
