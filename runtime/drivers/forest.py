"""The node's branch of every cgroup tree: `hawser/<instance>/<container>`, found, prepared and cleared.

Zygote and shims are in `hawser/<instance>/.shims` of the trees a service manager looks at: they outlive the node, and
are none of its service's processes. No container's name begins with a dot.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from .. import cgroup
from ..errors import Unavailable
from ..model import Limits
from . import cgroups

BRANCH = "hawser"
SHIMS = ".shims"
PATIENCE = 0.3


class Forest:
    """The cgroups of one node. Unavailable when the machine has none."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.hierarchies: Mapping[str, cgroup.Hierarchy] = _hierarchies()
        self._mounts = cgroup.mounts(self.hierarchies)
        self._refused: dict[str, str] = {}

    def prepare(self) -> None:
        """Make the node's branches and hand the controllers of version 2 down to them; blocking, at most a second."""
        for mount, controllers in self._mounts.items():
            for place in (mount, f"{mount}/{BRANCH}", f"{mount}/{BRANCH}/{self.instance}"):
                os.makedirs(place, exist_ok=True)
                for name in controllers:
                    self._hand_down(place, name)
        for home in self.homes():
            with contextlib.suppress(OSError):  # the zygote stays where it is, then
                os.makedirs(home, exist_ok=True)

    def groups(self, container: str, limits: Limits) -> list[cgroups.Group]:
        """The groups of a container with what to write into them. Unavailable when a limit has no controller."""
        settings = cgroup.settings(limits, self.hierarchies)
        for name, reason in self._refused.items():
            if getattr(limits, name) is not None:
                raise Unavailable(f"cgroup controller {name} cannot be used: {reason}; run without that limit")
        return [(self._place(mount, container), settings.get(mount, [])) for mount in self._mounts]

    def branches(self) -> tuple[str, ...]:
        """The node's branch of every tree."""
        return tuple(f"{mount}/{BRANCH}/{self.instance}" for mount in self._mounts)

    def homes(self) -> tuple[str, ...]:
        """The groups of zygote and shims."""
        return tuple(self._place(mount, SHIMS) for mount in cgroup.keepers(self.hierarchies))

    def _hand_down(self, place: str, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                cgroups.write(f"{place}/cgroup.subtree_control", f"+{name}")
            except OSError as error:
                if time.monotonic() > deadline:
                    self._refused[name] = f"{error.strerror}: {place}/{error.filename}"
                    return
                time.sleep(0.01)
            else:
                return

    def existing(self) -> dict[str, list[str]]:
        """Directories of the groups that exist, by container."""
        found: dict[str, list[str]] = {}
        for mount in self._mounts:
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(f"{mount}/{BRANCH}/{self.instance}"):
                    ours = entry.name == SHIMS or cgroups.spare_lives(entry.name)
                    if entry.is_dir(follow_symlinks=False) and not ours:
                        found.setdefault(entry.name, []).append(entry.path)
        return found

    def clear(self, container: str) -> None:
        """Kill everything in a container's groups and remove them; nothing when there are none."""
        for mount in self._mounts:
            cgroups.kill(self._place(mount, container))
            cgroups.remove(self._place(mount, container))

    def oom_kills(self, container: str) -> int:
        """Processes of the container that died because memory ran out."""
        return max((cgroups.oom_kills(self._place(mount, container)) for mount in self._mounts), default=0)

    def fell(self) -> None:
        """Remove the node's branches, if empty, and the common branch, if nobody else has one. Blocking."""
        for branch in {*self.branches(), *(os.path.dirname(home) for home in self.homes())}:
            if cgroups.remove(branch):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(branch))

    def _place(self, mount: str, container: str) -> str:
        return f"{mount}/{BRANCH}/{self.instance}/{container}"


def _hierarchies() -> dict[str, cgroup.Hierarchy]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    controllers = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            mount = before.split()[4]
            with contextlib.suppress(OSError):
                controllers[mount] = Path(mount, "cgroup.controllers").read_text()
    return cgroup.find(lines, controllers)
