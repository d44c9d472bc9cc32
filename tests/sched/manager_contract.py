"""The laws of `UnitManager`, as a suite that the fake and the real one both pass.

A subclass gives the fixture `site`: how managers of one and the same machine are opened, and which commands do what.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest

from hawser.sched.compile import compile_unit
from hawser.sched.manager import Process, UnitManager
from hawser.sched.model import Service, prepare
from tests.wait import auntil


@dataclass(frozen=True)
class ManagerSite:
    """`open` gives a manager and lets go of it, leaving processes; the commands are ExecStart lines: `runs` goes on
    and ends on SIGTERM, `stubborn` ignores SIGTERM, `ends` exits with 3, `cannot` fails to start; `zero` and `three`
    are argument vectors for `run` that exit with 0 and 3, `forever` one that does not end. `more`: further sections;
    `stubborn_yet(unit)`: whether a started stubborn program has got as far as ignoring the signal."""

    open: Callable[[], AbstractAsyncContextManager[UnitManager]]
    runs: str
    stubborn: str
    ends: str
    cannot: str
    zero: Sequence[str]
    three: Sequence[str]
    forever: Sequence[str]
    more: str = ""
    stubborn_yet: Callable[[str], bool] = lambda unit: True
    names: list[str] = field(default_factory=lambda: ["web.service", "web@1.service"])

    def unit(self, start: str, name: str = "web.service") -> Service:
        return prepare(compile_unit(name, f"[Service]\nExecStart={start}\n{self.more}"), 0)


class ManagerContract:
    """Subclass as `TestX(ManagerContract)` with a fixture `site`."""

    async def test_a_started_unit_is_seen_running(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.runs)
            await manager.start(unit)
            process = manager.observe()[unit.name]
            assert (process.unit, process.hash, process.running, process.code) == (unit.name, unit.hash, True, None)
            await manager.clear(unit.name)
            assert unit.name not in manager.observe()

    async def test_an_end_is_seen_until_cleared(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.ends)
            await manager.start(unit)
            process = await ended(manager, unit.name)
            assert (process.code, process.signal, process.hash) == (3, 0, unit.hash)
            await manager.clear(unit.name)
            assert unit.name not in manager.observe()

    async def test_a_start_takes_the_place_of_what_ended(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            await manager.start(site.unit(site.ends))
            await ended(manager, "web.service")
            again = site.unit(site.runs)
            await manager.start(again)
            process = manager.observe()[again.name]
            assert (process.running, process.hash) == (True, again.hash)
            await manager.clear(again.name)

    async def test_a_stop_ends_it_by_its_signal(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.runs)
            await manager.start(unit)
            await manager.stop(unit, 5)
            process = manager.observe()[unit.name]
            assert (process.running, process.signal) == (False, 15)
            await manager.stop(unit, 5)
            await manager.clear(unit.name)

    async def test_what_ignores_the_signal_is_killed(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.stubborn)
            await manager.start(unit)
            await auntil(lambda: site.stubborn_yet(unit.name), what="its stubbornness")
            await manager.stop(unit, 0.1)
            process = manager.observe()[unit.name]
            assert (process.running, process.signal) == (False, 9)
            await manager.clear(unit.name)

    async def test_what_cannot_start_says_so_in_one_line(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.cannot)
            with pytest.raises(Exception, match=r"\S") as caught:
                await manager.start(unit)
            assert getattr(caught.value, "kind", None) in ("failed", "usage", "not-found", "conflict", "unavailable")
            assert "\n" not in str(caught.value)
            assert not any(process.running for process in manager.observe().values())
            await manager.stop(unit, 1)
            await manager.clear(unit.name)

    async def test_commands_run_before_and_beside_the_process(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.runs)
            assert await manager.run(unit, site.three, host=False, timeout=10) == 3
            await manager.start(unit)
            assert await manager.run(unit, site.zero, host=False, timeout=10) == 0
            assert await manager.run(unit, site.three, host=True, timeout=10) == 3
            assert manager.observe()[unit.name].running
            await manager.clear(unit.name)

    async def test_a_command_that_takes_too_long_is_ended(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.runs)
            try:
                outcome: object = await manager.run(unit, site.forever, host=False, timeout=0.1)
            except Exception as error:
                outcome = str(error)
            assert outcome != 0
            await manager.clear(unit.name)

    async def test_a_clear_kills_and_repeats(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.stubborn)
            await manager.start(unit)
            for _ in range(2):
                await manager.clear(unit.name)
                assert unit.name not in manager.observe()
            await manager.clear("never.service")

    async def test_units_do_not_touch_each_other(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            units = [site.unit(site.runs, name) for name in site.names]
            for unit in units:
                await manager.start(unit)
            await manager.stop(units[0], 5)
            seen = manager.observe()
            assert [seen[unit.name].running for unit in units] == [False, True]
            for unit in units:
                await manager.clear(unit.name)

    async def test_processes_outlive_the_manager(self, site: ManagerSite) -> None:
        async with site.open() as manager:
            unit = site.unit(site.runs)
            await manager.start(unit)
            before = manager.observe()[unit.name]
        async with site.open() as manager:
            assert manager.observe()[unit.name] == before
            await manager.stop(unit, 5)
            assert not manager.observe()[unit.name].running
            await manager.clear(unit.name)


async def ended(manager: UnitManager, name: str) -> Process:
    """The process, when it has ended."""
    await auntil(lambda: not manager.observe()[name].running, what=f"the end of {name}")
    return manager.observe()[name]
