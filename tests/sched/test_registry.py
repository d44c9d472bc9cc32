"""Texts and orders in the store, and the rows made of them."""

from functools import partial

import pytest

from hawser.sched.compile import text_hash
from hawser.sched.errors import Conflict, Invalid, NotFound
from hawser.sched.model import Service
from hawser.sched.registry import Registry
from hawser.store import MemoryStore

from .site import Site, unit

WEB = "web.service"


async def test_a_text_comes_back_as_it_was() -> None:
    units = Registry(MemoryStore())
    text = "# ours\n" + unit()
    assert await units.submit(WEB, text) == text_hash(text)
    assert await units.text(WEB) == text
    assert (await units.service(WEB)).command.argv == ("run",)


async def test_a_bad_text_is_refused_and_changes_nothing() -> None:
    units = Registry(MemoryStore())
    await units.submit(WEB, unit("one"))
    with pytest.raises(Invalid, match=r"unknown key ExecStrat= .*; did you mean ExecStart="):
        await units.submit(WEB, unit("two", ExecStrat="x"))
    assert await units.text(WEB) == unit("one")
    with pytest.raises(Invalid, match="does not end in"):
        await units.submit("web", unit())


async def test_what_could_not_be_started_is_refused_with_every_problem_and_its_line() -> None:
    store = MemoryStore()

    def check(service: Service) -> list[str]:
        assert service.container is not None
        few = service.container.cpus is not None and service.container.cpus < 0.01
        return ["[X-Container] CPUs=: give at least 0.01", "somewhere else"] if few else []

    units = Registry(store, check)
    text = "[Service]\nExecStart=a\n[X-Container]\nImage=a\nCPUs=1\nCPUs={}\n"
    with pytest.raises(Invalid) as caught:
        await units.submit(WEB, text.format("0.005"))
    assert str(caught.value) == f"{WEB}: somewhere else; line 6: [X-Container] CPUs=: give at least 0.01"
    assert not (await store.range("", prefix=True)).kvs
    await units.submit(WEB, text.format("0.5"))
    assert await units.text(WEB) == text.format("0.5")


async def test_an_instance_is_checked_when_it_is_made_of_its_template() -> None:
    units = Registry(MemoryStore(), lambda service: [] if service.name == "web@.service" else ["not this one"])
    await units.submit("web@.service", unit())
    with pytest.raises(Invalid, match="not this one"):
        await units.set_desired("web@1.service", "launched")
    with pytest.raises(NotFound):
        await units.text("web@1.service")


async def test_a_submitted_unit_is_inactive_and_again_keeps_its_order() -> None:
    units = Registry(MemoryStore())
    await units.submit(WEB, unit("one"))
    assert (await units.listing())[0]["desired"] == "inactive"
    await units.set_desired(WEB, "launched")
    await units.submit(WEB, unit("two"))
    row = await units.show(WEB)
    assert (row["desired"], row["active"], row["reason"]) == ("launched", "activating", "a machine has not acted yet")


@pytest.mark.parametrize("verb", ["text", "show", "restart", "destroy", "start"])
async def test_of_an_unknown_unit_there_is_nothing_to_say(verb: str) -> None:
    units = Registry(MemoryStore())
    ask = partial(units.set_desired, state="launched") if verb == "start" else getattr(units, verb)
    with pytest.raises(NotFound, match=r"unit x@1\.service does not exist"):
        await ask("x@1.service")


async def test_what_is_not_launched_is_not_restarted() -> None:
    units = Registry(MemoryStore())
    await units.submit(WEB, unit())
    with pytest.raises(Conflict, match=r"is inactive, not launched; start it instead"):
        await units.restart(WEB)


async def test_an_unknown_state_is_refused() -> None:
    units = Registry(MemoryStore())
    await units.submit(WEB, unit())
    with pytest.raises(Invalid, match="'running' is none of inactive, loaded, launched"):
        await units.set_desired(WEB, "running")


async def test_a_destroyed_unit_leaves_no_key() -> None:
    store = MemoryStore()
    units = Registry(store)
    await units.submit(WEB, unit())
    await units.set_desired(WEB, "loaded")
    await units.destroy(WEB)
    assert not (await store.range("/hawser/", prefix=True)).kvs


async def test_rows_are_sorted_by_name() -> None:
    units = Registry(MemoryStore())
    for name in ("b.service", "a.service", "a@.service"):
        await units.submit(name, unit())
    assert [row["name"] for row in await units.listing()] == ["a.service", "a@.service", "b.service"]


async def test_a_state_older_than_its_order_is_not_shown_as_the_outcome() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("exit 1"))
        await site.becomes(WEB, active="failed")
    await site.units.set_desired(WEB, "launched")
    assert (await site.units.show(WEB))["active"] == "activating"
    assert await site.units.listing() == [await site.units.show(WEB)]
