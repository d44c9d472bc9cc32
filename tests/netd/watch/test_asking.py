"""Machines ask each other through the store: answers, refusals, silence; nonsense harms nobody."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from hawser.netd.errors import NetError, NotFound
from hawser.netd.watch.drivers.asking import ASKED, ROOT, TOLD, Asking
from hawser.store import MemoryStore, Store, Unavailable


async def twice(question: Mapping[str, Any]) -> object:
    return question["number"] * 2


async def refuse(question: Mapping[str, Any]) -> object:
    raise NotFound("it is not here")


async def away(question: Mapping[str, Any]) -> object:
    raise Unavailable("no store")


ANSWERERS = {"twice": twice, "refuse": refuse, "away": away}


@pytest.fixture
async def asker(store: Store) -> AsyncIterator[Asking]:
    """`m1`, beside `m2` and `m3` that answer."""
    others = [Asking(store, name, ANSWERERS) for name in ("m2", "m3")]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(other.run()) for other in others]
        yield Asking(store, "m1", {})
        assert (await store.range(ROOT, prefix=True)).kvs == ()
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()


async def test_everybody_answers(asker: Asking) -> None:
    assert await asker.ask(["m2", "m3"], "twice", {"number": 4}, 5) == {"m2": 8, "m3": 8}
    assert await asker.ask([], "twice", {"number": 4}, 5) == {}


async def test_many_ask_at_once(asker: Asking) -> None:
    answers = await asyncio.gather(*(asker.ask(["m2"], "twice", {"number": n}, 5) for n in range(30)))
    assert [answer["m2"] for answer in answers] == [2 * n for n in range(30)]


@pytest.mark.parametrize(("kind", "words"), [("refuse", "it is not here"), ("away", "no store")])
async def test_a_refusal_is_told(asker: Asking, kind: str, words: str) -> None:
    (answer,) = (await asker.ask(["m2"], kind, {}, 5)).values()
    assert isinstance(answer, NetError)
    assert str(answer) == words


async def test_who_is_silent_is_told_and_the_others_are_heard(asker: Asking) -> None:
    answers = await asker.ask(["m2", "m9"], "twice", {"number": 4}, 0.3)
    assert (answers["m2"], str(answers["m9"])) == (8, "its node does not answer")


@pytest.mark.parametrize(("kind", "question"), [("nosuch", {}), ("twice", {}), ("twice", {"number": None})])
async def test_what_makes_no_sense_has_no_answer(asker: Asking, kind: str, question: Mapping[str, Any]) -> None:
    answer = (await asker.ask(["m2"], kind, question, 0.2))["m2"]
    assert str(answer) == "its node does not answer"


@pytest.mark.parametrize("value", [b"{", b"[]", b"7", b'{"kind": "twice"}', b'{"kind": [], "lease": 0, "question": 1}'])
async def test_nonsense_in_the_store_stops_nobody(asker: Asking, store: Store, value: bytes) -> None:
    await store.put(f"{ASKED}m2/x", value)
    assert await asker.ask(["m2"], "twice", {"number": 4}, 5) == {"m2": 8}
    await store.delete(f"{ASKED}m2/x")


async def test_an_answer_that_cannot_be_read_is_told(asker: Asking, store: Store) -> None:
    async def disturb() -> None:
        async with store.watch(f"{ASKED}m9/", prefix=True, from_revision=1) as batches:
            asked = (await anext(batches)).events[0].kv
        name, lease = asked.key.rpartition("/")[2], json.loads(asked.value)["lease"]
        await store.put(f"{TOLD}{name}/strange", b"{}", lease=lease)
        await store.put(f"{TOLD}{name}/m9", b"[", lease=lease)

    answers, _ = await asyncio.gather(asker.ask(["m9"], "twice", {"number": 4}, 5), disturb())
    assert list(answers) == ["m9"]
    assert str(answers["m9"]) == "its answer cannot be read"


async def test_without_a_store_nobody_answers() -> None:
    store = MemoryStore()
    await store.close()
    answers = await Asking(store, "m1", {}).ask(["m2"], "twice", {"number": 4}, 1)
    assert str(answers["m2"]).startswith("the store is away: ")
