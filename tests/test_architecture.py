"""The house's plan, kept by reading imports: dependencies point one way, and pure modules touch nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_USE = {
    "store": set(),
    "netd": {"store"},
    "mesh": {"store"},
    "sched": {"store"},
    "runtime": {"store"},
    "labs": {"netd", "runtime"},
}
IMPURE = {
    "asyncio",
    "socket",
    "os",
    "time",
    "pyroute2",
    "ovs",
    "aiohttp",
    "sqlite3",
    "threading",
    "subprocess",
    "random",
}
PURE = {
    "store": {"draft", "errors", "keys", "keyspace", "kv", "leases", "reconcile"},
    "netd": {"compile", "errors", "ipam", "model", "rules"},
    "mesh": {"announce", "catalog", "dns", "errors", "health", "model", "resolvconf", "wire", "zone"},
    "sched": {"errors", "lifecycle", "model", "placement", "unitfile"},
    "runtime": {"cgroup", "errors", "model", "images.members"},
    "labs": {"errors", "model", "render", "shapes"},
}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    folder = ROOT / package
    for path in sorted(folder.rglob("*.py")):
        yield ".".join(path.relative_to(folder).with_suffix("").parts), path


def imports(path: Path) -> Iterator[str]:
    """Every absolute module a file imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaches(package: str) -> Iterator[str]:
    for name, path in modules(package):
        for target in imports(path):
            parts = target.split(".")
            if parts[0] != "hawser" or len(parts) < 2 or parts[1] == package:
                continue
            allowed = parts[1] in MAY_USE[package]
            if package == "runtime":
                allowed = target.startswith("hawser.store.reconcile") or target == "hawser.store"
            if not allowed:
                yield f"{package}.{name} imports {target}"


@pytest.mark.parametrize("package", MAY_USE)
def test_dependencies_point_one_way(package: str) -> None:
    assert list(breaches(package)) == []


@pytest.mark.parametrize("package", PURE)
def test_pure_modules_touch_nothing(package: str) -> None:
    found = dict(modules(package))
    impure = [
        f"{package}.{name} imports {target}"
        for name in PURE[package]
        for target in imports(found[name])
        if target.split(".")[0] in IMPURE
    ]
    assert impure == []


def test_packages_are_named_by_their_links() -> None:
    for package in MAY_USE:
        assert (ROOT / "hawser" / package).is_symlink()
        assert (ROOT / "hawser" / package).resolve() == ROOT / package


def test_a_breach_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text("def late():\n    from hawser.runtime import agent\n    import os.path\n")
    assert set(imports(module)) == {"hawser.runtime", "hawser.runtime.agent", "os.path"}
