"""The house's plan, kept by reading imports: dependencies point one way, and pure modules touch nothing.

Everything in a package is pure except its `drivers/`, its `agent` and the few modules of IMPURE. A relative import is
read as the module it names, so neither `..mesh` nor `.drivers` hides.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_USE = {
    "store": set[str](),
    "netd": {"store"},
    "mesh": {"store"},
    "sched": {"store"},
    "runtime": {"store.reconcile"},
    "labs": {"netd", "runtime"},
}
WORLD = """
aiohttp asyncio concurrent ctypes fcntl multiprocessing os ovs pyroute2 random resource secrets select selectors shutil
socket sqlite3 subprocess tempfile threading time
"""
EFFECTS = frozenset(WORLD.split())
# modules, and packages of them, that wait or touch the world, and why they are neither in drivers/ nor the agent
IMPURE = {
    "store.embedded.ageing": "compacts on the loop's clock",
    "store.embedded.base": "the loop's side of an engine",
    "store.embedded.engine": "answers from what is durable",
    "store.embedded.leasing": "leases of an engine",
    "store.embedded.upkeep": "what operators ask an engine for",
    "store.embedded.groups": "answers requests when they are durable",
    "store.embedded.lessor": "leases on the loop's clock",
    "store.embedded.feed": "wakes watchers",
    "store.embedded.past": "waits for the log",
    "store.cluster.machines": "follows the machines' records",
    "store.cluster.own_member": "the agent of a machine's etcd member",
    "store.cluster.rotation": "the agent of a machine's certificate",
    "store.cluster.tending": "the agent of a cluster's members",
    "store.etcd.server": "answers calls over an engine that runs",
    "store.cluster.registration": "the agent of a machine's place in its cluster",
    "store.background": "runs tasks beside a block",
    "store.follow": "follows a watch",
    "store.loop": "the loop every agent runs",
    "store.migrate": "reads one store and writes another",
    "store.open": "opens engines",
    "store.session": "keeps a lease, waits for its turn",
    "store.embedded.memory": "an engine",
    "netd.encryption": "the agent of a machine's encrypted overlay",
    "netd.presence": "the agent of a machine's tunnel endpoint",
    "mesh.follower": "a task of the agent: follows the catalog's watch",
    "mesh.keeper": "a task of the agent: keeps one announcement",
    "mesh.keepers": "tasks of the agent: the announcements of this machine",
    "sched.engine": "the agent of placements",
    "sched.actions": "tasks of the agent: do what a life asks for",
    "sched.mirror": "a task of the agent: follows the store's watch",
    "labs.lab": "this package's agent, for callers that block",
    "labs.cli": "the command line",
}
# modules of such packages that touch nothing all the same
PURE = {"store.etcd.server.codec", "store.etcd.server.hpack"}
# modules that should be pure, or know less, and are not yet: what is to become of them
KNOWN = {
    "runtime.container": "its clock and process table belong in drivers/",
    "runtime.images.debian": "runs programs; belongs in a drivers/",
    "runtime.images.extract": "writes files; belongs in a drivers/",
    "runtime.images.library": "keeps files; belongs in a drivers/",
    "runtime.watch": "a task of the agent; its process table belongs behind a driver",
}


def modules(package: str) -> dict[str, Path]:
    """`package.module` → its file; a package's own is named like the package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path) -> Iterator[str]:
    """Every module a file imports, lazily or not, by its full name; `name` is the file's own, without `hawser.`."""
    within = ["hawser", *name.split(".")]
    if path.name != "__init__.py":
        within.pop()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = within[: len(within) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def house(target: str) -> str | None:
    """A module of this house without `hawser.` ("" is `hawser` itself), or None."""
    head, _, rest = target.partition(".")
    if head in MAY_USE:  # imported past the links
        return target
    return rest if head == "hawser" else None


def is_within(target: str, names: Iterable[str]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in names)


def misdirected(package: str) -> Iterator[str]:
    """Imports of what the package may not know, the composition root included."""
    for name, path in modules(package).items():
        for target in imports(name, path):
            other = house(target)
            if other is not None and not is_within(other, {package, *MAY_USE[package]}):
                yield f"{name} imports {target}"


def is_pure(name: str) -> bool:
    parts = name.split(".")
    return name in PURE or ("drivers" not in parts and parts[-1] != "agent" and not is_within(name, IMPURE))


def effects(name: str, path: Path) -> Iterator[str]:
    """What a pure module imports and may not: effects, drivers, agents, modules that wait. A package's face
    (`__init__`) only hands on what its modules have."""
    face = path.name == "__init__.py"
    for target in imports(name, path):
        other = house(target)
        impure = [part for part in (other or "").split(".") if part in ("drivers", "agent")]
        allowed = is_within(other or "", PURE)
        known = not allowed and is_within(other or "", {*IMPURE, *KNOWN})
        if target.split(".")[0] in EFFECTS or (not face and (impure or known)):
            yield f"{name} imports {target}"


def impurities(package: str) -> list[str]:
    found = modules(package).items()
    return [breach for name, path in found if is_pure(name) for breach in effects(name, path)]


def unknown(breaches: Iterable[str]) -> list[str]:
    return [breach for breach in breaches if breach.split(" ")[0] not in KNOWN]


@pytest.mark.parametrize("package", MAY_USE)
def test_dependencies_point_one_way(package: str) -> None:
    assert unknown(misdirected(package)) == []


@pytest.mark.parametrize("package", MAY_USE)
def test_pure_modules_touch_nothing(package: str) -> None:
    assert unknown(impurities(package)) == []


def test_no_exception_outlives_its_cause() -> None:
    every = {name: path for package in MAY_USE for name, path in modules(package).items()}
    breaches = {breach for package in MAY_USE for breach in (*misdirected(package), *impurities(package))}
    within = {name: [each for each in every if is_within(each, [name])] for name in IMPURE}
    assert [name for name, found in within.items() if not any(list(effects(each, every[each])) for each in found)] == []
    assert [name for name in PURE if name not in every] == []
    assert {breach.split(" ")[0] for breach in breaches} & set(KNOWN) == set(KNOWN)
    assert all((*IMPURE.values(), *KNOWN.values()))


def test_packages_are_named_by_their_links() -> None:
    for package in MAY_USE:
        assert (ROOT / "hawser" / package).is_symlink()
        assert (ROOT / "hawser" / package).resolve() == ROOT / package


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("def late():\n    from hawser.runtime import agent", "hawser.runtime.agent"),
        ("import os.path", "os.path"),
        ("from ..mesh import model", "hawser.mesh.model"),
        ("from .. import mesh", "hawser.mesh"),
        ("from .drivers import world", "hawser.netd.drivers.world"),
        ("from . import agent", "hawser.netd.agent"),
        ("from hawser import cli", "hawser.cli"),
        ("import hawser", "hawser"),
    ],
)
def test_an_import_is_seen_by_its_full_name(line: str, seen: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(line)
    assert list(imports("netd.module", module)) == [seen]


def test_a_face_imports_from_its_own_package(tmp_path: Path) -> None:
    module = tmp_path / "__init__.py"
    module.write_text("from .agent import NetAgent\nfrom ..mesh import model")
    assert list(imports("netd", module)) == ["hawser.netd.agent.NetAgent", "hawser.mesh.model"]


def test_the_composition_root_is_nobodys_to_import() -> None:
    for target in ("hawser", "hawser.cli", "hawser.node.Node"):
        other = house(target)
        assert other is not None
        assert not is_within(other, {"netd", "store"})
