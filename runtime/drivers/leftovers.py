"""What a node's crash may leave: half-made directories, control groups and processes that nobody looks after."""

import contextlib
from dataclasses import dataclass

from hawser.store import reconcile

from .forest import Forest
from .records import Shelf
from .removal import remove_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """`kind` is directory or cgroup; `name` the directory's name, or the container's."""

    kind: str
    name: str


class Leftovers:
    """Finds and removes them. Blocking."""

    def __init__(self, shelf: Shelf, forest: Forest) -> None:
        self._shelf = shelf
        self._forest = forest

    def plan(self, alive: set[str]) -> tuple[reconcile.Step[Leftover], ...]:
        """Steps that remove what is nobody's: half-made directories, cgroups of containers that are not `alive`."""
        found = [Leftover(kind="directory", name=name) for name in self._shelf.names()[1]]
        found += [Leftover(kind="cgroup", name=name) for name in self._forest.existing() if name not in alive]
        return reconcile.plan({}, {f"{leftover.kind}/{leftover.name}": leftover for leftover in found})

    def remove(self, leftover: Leftover) -> None:
        """Remove it, with the processes in it; nothing when it is gone."""
        if leftover.kind == "cgroup":
            self._forest.clear(leftover.name)
        else:
            with contextlib.suppress(OSError):
                remove_tree(self._shelf.root / leftover.name)
