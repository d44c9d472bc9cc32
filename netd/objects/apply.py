"""A plan of objects carried out: one failure stays with its object, and what needed that says so by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hawser.store.reconcile import Step, Verb

from ..errors import Conflict, NetError, NotFound
from ..model import Network
from ..parse import encode_network
from . import checks, document
from .catalogue import Objects
from .document import Known, Wanted
from .forms import DEFAULT_TENANT
from .kinds import Object, named


class Networks(Protocol):
    """Who makes and removes networks: the agent."""

    async def create_network(self, spec: Mapping[str, Any]) -> Network:
        """As `NetAgent.create_network`."""
        ...

    async def remove_network(self, tenant: str, name: str) -> None:
        """As `NetAgent.remove_network`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A step, and why it failed, None when it did not (or was not tried)."""

    step: Step[Object]
    error: NetError | None = None


async def apply(
    objects: Objects,
    networks: Networks,
    wanted: Sequence[Wanted],
    *,
    owner: str | None = document.DEFAULT_SET,
    prune: bool = False,
    dry_run: bool = False,
) -> tuple[Done, ...]:
    """Bring the objects to what is wanted; `owner` is the set that has applied them from then on (None: no set).

    NetError when the plan cannot be, with every reason; then nothing was done. StoreError in the midst: apply again.
    """
    known = Known(world=await objects.world(), attached=await objects.attached(), applied=await objects.applied())
    steps = document.plan(wanted, known, owner=owner or "", prune=prune)
    if dry_run:
        return tuple(Done(step=step) for step in steps)
    plain = {named(each.thing): each.plain for each in wanted}
    done = await _all(objects, networks, steps, plain, known)
    failed = {each.step.key for each in done if each.error}
    if owner:
        await objects.own(owner, [name for name in plain if name not in failed])
    if owner and prune:
        await objects.release(owner, known.applied.get(owner, frozenset()) - plain.keys() - failed)
    return tuple(done)


async def _all(
    objects: Objects, networks: Networks, steps: Sequence[Step[Object]], plain: Mapping[str, Any], known: Known
) -> tuple[Done, ...]:
    """Every step in turn; what another's later step may have made possible again, as long as any succeeds."""
    errors: dict[str, NetError | None] = {}
    pending = list(steps)
    while pending:
        for step in pending:
            errors[step.key] = await _carried(objects, networks, step, plain, known)
        again = [step for step in pending if isinstance(errors[step.key], Conflict | NotFound)]
        pending = again if len(again) < len(pending) else []
    return tuple(Done(step=step, error=errors[step.key]) for step in steps)


async def _carried(
    objects: Objects, networks: Networks, step: Step[Object], plain: Mapping[str, Any], known: Known
) -> NetError | None:
    try:
        await _carry_out(objects, networks, step, plain.get(step.key, {}), known)
    except NetError as error:
        return error
    return None


async def _carry_out(
    objects: Objects, networks: Networks, step: Step[Object], plain: Mapping[str, Any], known: Known
) -> None:
    thing = step.spec
    if not isinstance(thing, Network):
        if step.verb is Verb.DELETE:
            word, _, key = step.key.partition(":")
            await objects.remove(word, key)
        else:
            await objects.put(thing, new=step.verb is Verb.CREATE)
        return
    present = known.world.network(thing.tenant, thing.name)
    anew = step.verb is Verb.UPDATE and present is not None and bool(checks.fixed_changes(thing, present))
    if step.verb is Verb.DELETE or anew:
        try:
            await networks.remove_network(thing.tenant, thing.name)
        except NotFound:
            if not anew:  # else an earlier try came as far as this
                raise
        await objects.disown(step.key)
    if step.verb is Verb.CREATE:
        await networks.create_network(_spec(plain))
    elif anew:  # with what it had and the document leaves open
        await networks.create_network(encode_network(thing))
    elif step.verb is Verb.UPDATE:
        await objects.put(thing)


def _spec(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A network's document as the agent takes it: what is not given is the agent's to choose."""
    given = {name: value for name, value in plain.items() if name != "kind"}
    if "plane" in given:
        given["kind"] = given.pop("plane")
    return {"tenant": DEFAULT_TENANT, **given}
