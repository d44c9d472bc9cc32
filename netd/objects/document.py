"""Documents become the objects wanted; those against what is there become a plan, in the order of dependence.

A set is what one file (or several, under one name) declares. Only what an earlier apply of the same set declared, and
no other set does, is removed by `prune`. The end of the plan is checked whole before its first step: what it leads to
must hold, and nothing that stays may need what goes.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from typing import Any

from hawser.store.reconcile import Step, Verb
from hawser.store.reconcile import plan as reconciled

from ..errors import Conflict, Invalid, NetError
from ..model import Network, Reservation
from . import checks
from .checks import World
from .kinds import RANKS, Object, kind_of, named, read_document, spoken
from .reading import Document, documents
from .reserving import settled
from .shape import Wrong

DEFAULT_SET = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One object of a file, its plain document, and where it stands."""

    thing: Object
    plain: Mapping[str, Any]
    where: str


def parse_text(written: str) -> tuple[Wanted, ...]:
    """The objects of a YAML or JSON text. Invalid names every problem of every document."""
    return parse_files({"": written})


def parse_files(files: Mapping[str, str]) -> tuple[Wanted, ...]:
    """The objects of texts by name. Invalid names every problem of every document of every file."""
    found: list[Document] = []
    problems: list[str] = []
    for name, written in files.items():
        before = f"{name}: " if name else ""
        try:
            found += [replace(document, where=before + document.where) for document in documents(written)]
        except Wrong as error:
            problems.append(f"{before or 'the text: '}{error}")
    return parse_documents(found, problems)


def parse_plain(plains: Iterable[Any]) -> tuple[Wanted, ...]:
    """The objects of documents that are plain values already. Invalid."""
    return parse_documents(Document(where=f"document {n}", plain=plain) for n, plain in enumerate(plains, 1))


def parse_documents(found: Iterable[Document], unread: Iterable[str] = ()) -> tuple[Wanted, ...]:
    """The objects of documents, at least one: with `prune`, none would remove everything. Invalid names every problem
    of every document, after those of texts that could not be read."""
    wanted: dict[str, Wanted] = {}
    problems = list(unread)
    for document in found:
        try:
            thing = read_document(document.plain)
        except Wrong as error:
            problems.append(f"{document.where}{_called(document.plain)}: {error}")
            continue
        name = named(thing)
        if name in wanted:
            problems.append(f"{document.where}: {spoken(name)} is in {wanted[name].where} already; leave one out")
        else:
            wanted[name] = Wanted(thing=thing, plain=document.plain, where=document.where)
    if problems:
        raise Invalid("; ".join(problems))
    if not wanted:
        raise Invalid("there is no document; give at least one object")
    return tuple(wanted.values())


def _called(plain: object) -> str:
    """What a document seems to be, for a message about it."""
    if not isinstance(plain, Mapping):
        return ""
    parts = [plain.get("kind"), plain.get("name") or plain.get("address")]
    words = " ".join(part for part in parts if isinstance(part, str) and part.isprintable())
    return f", {words[:80]}" if words else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is there: the objects, the sandboxes on each network, and which names each set has applied."""

    world: World
    attached: Mapping[str, tuple[str, ...]]
    applied: Mapping[str, AbstractSet[str]]


def plan(wanted: Iterable[Wanted], known: Known, *, owner: str = DEFAULT_SET, prune: bool) -> tuple[Step[Object], ...]:
    """The steps to what is wanted; with `prune` also the removal of what the set `owner` no longer has. NetError names
    every reason why that cannot be."""
    present = known.world.things
    where = {named(each.thing): each.where for each in wanted}
    desired = {named(each.thing): _settled(each, present.get(named(each.thing))) for each in wanted}
    going = (
        {name for name in _prunable(known.applied, owner) if name in present and name not in desired}
        if prune
        else set()
    )
    observed = {name: present[name] for name in {*desired, *going} if name in present}
    steps = reconciled(desired, observed, rank=lambda name, thing: RANKS[kind_of(thing).word], differs=_differs)
    steps = tuple(_reasoned(step, owner) for step in steps)
    errors = list(_refused(steps, known))
    checks.one_error(type(error)(_at(where, step, error)) for step, error in errors)
    return _ordered(steps, known.world)


def _at(where: Mapping[str, str], step: Step[Object], error: NetError) -> str:
    place = where.get(step.key)
    return f"{place}: {error}" if place else str(error)


def _prunable(applied: Mapping[str, AbstractSet[str]], owner: str) -> AbstractSet[str]:
    others = {name for other, names in applied.items() if other != owner for name in names}
    return applied.get(owner, frozenset()) - others


def _settled(wanted: Wanted, present: Object | None) -> Object:
    """What is wanted, with what the document leaves open as it is at present."""
    thing = wanted.thing
    if isinstance(thing, Reservation) and isinstance(present, Reservation):
        return settled(thing, present)
    if isinstance(thing, Network) and isinstance(present, Network):
        kind = thing.kind if "plane" in wanted.plain else present.kind
        tunnel = thing.tunnel if "tunnel" in wanted.plain or kind is not present.kind else present.tunnel
        chosen = replace(thing, vni=thing.vni or present.vni, kind=kind, tunnel=tunnel)
        return chosen if thing.subnets else replace(chosen, subnets=present.subnets, gateways=present.gateways)
    return thing


def _differs(wanted: Object, present: Object) -> str | None:
    """Which fields are to change, in words, or None."""
    changed = [
        field.name for field in fields(wanted) if getattr(wanted, field.name) != getattr(present, field.name, None)
    ]
    return f"changes {', '.join('plane' if name == 'kind' else name for name in changed)}" if changed else None


def _reasoned(step: Step[Object], owner: str) -> Step[Object]:
    if step.verb is not Verb.DELETE:
        return step
    return replace(step, reason=f"set {owner} had it and no longer has it")


def _refused(steps: Iterable[Step[Object]], known: Known) -> Iterable[tuple[Step[Object], NetError]]:
    """Why steps cannot be done, or would lead to what cannot be."""
    made = {step.key: step.spec for step in steps if step.verb is not Verb.DELETE}
    gone = {step.key for step in steps if step.verb is Verb.DELETE}
    end = World({**{name: thing for name, thing in known.world.things.items() if name not in gone}, **made}.values())
    for step in steps:
        if step.verb is Verb.DELETE:
            if error := checks.in_use(step.spec, end) or _peopled(step.spec, known.attached):
                yield step, error
            continue
        for error in checks.problems(step.spec, end):
            yield step, error
        if step.verb is Verb.UPDATE and (error := _unchangeable(step.spec, known)):
            yield step, error


def _peopled(thing: Object, attached: Mapping[str, tuple[str, ...]]) -> NetError | None:
    there = attached.get(thing.key, ()) if isinstance(thing, Network) else ()
    return Conflict(f"{spoken(named(thing))} is used by {_some(there)}; remove those first") if there else None


def _unchangeable(wanted: Object, known: Known) -> NetError | None:
    present = known.world.things[named(wanted)]
    if checks.tenant_of(wanted) != checks.tenant_of(present):
        return Conflict(f"{spoken(named(wanted))} is tenant {checks.tenant_of(present)}'s; choose another")
    if not isinstance(wanted, Network) or not isinstance(present, Network):
        return None
    fixed = checks.fixed_changes(wanted, present)
    there = (*known.attached.get(wanted.key, ()), *checks.users(present, known.world))
    if not fixed or not there:
        return None
    return Conflict(
        f"{spoken(named(wanted))}: cannot change {'; '.join(fixed)} while {_some(there)} "
        f"{'is' if len(there) == 1 else 'are'} on it; remove those first"
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _ordered(steps: tuple[Step[Object], ...], world: World) -> tuple[Step[Object], ...]:
    """Removals first, as what is new may need their addresses; but what something needs that is only updated goes after
    that update."""
    gone = {step.key: step.spec for step in steps if step.verb is Verb.DELETE}
    left = World(thing for name, thing in world.things.items() if name not in gone)
    late = {name: thing for name, thing in gone.items() if isinstance(thing, Network) and checks.in_use(thing, left)}
    tenants = {f"tenant:{checks.tenant_of(thing)}" for thing in late.values()}
    removals = [step for step in steps if step.verb is Verb.DELETE]
    return (
        *(step for step in removals if step.key not in late and step.key not in tenants),
        *(step for step in steps if step.verb is not Verb.DELETE),
        *(step for step in removals if step.key in late or step.key in tenants),
    )
