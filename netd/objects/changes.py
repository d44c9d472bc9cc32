"""One change of the catalogue, decided: what to compare and what to write, so that it holds whoever else writes.

A `View` is what the store had at one revision of everything that the change depends on. Its guards say that nothing was
put there since; what is read and relied on must be as it was read. So two changes that would be wrong together cannot
both be written, wherever they are made.
"""

import contextlib
from collections.abc import Iterable, Iterator

from hawser.store import Compare, DeleteOp, Op, absent, unchanged

from .. import model, parse
from ..errors import Conflict, Exists, Invalid, NetError, NotFound
from ..model import Floating, Network, Policy, Reservation, Router, Tenant
from . import checks
from .kinds import KINDS, Object, named, spoken
from .records import BOUND, OWNER, Change, View, owner, read, record_of, world_of
from .reserving import reserve


def put(view: View, thing: Object, *, new: bool) -> Change:
    """Write an object: one that must be `new`, or one that may be there. Exists, NotFound, Conflict, Invalid."""
    record = record_of(thing)
    entry = view.entries.get(record.key)
    if new and entry is not None:
        raise Exists(f"{spoken(named(thing))} exists; choose another name or remove it")
    present = None if entry is None else read(entry)
    if present is not None and checks.tenant_of(present) != checks.tenant_of(thing):
        raise Conflict(f"{spoken(named(thing))} is tenant {checks.tenant_of(present)}'s; choose another")
    world = world_of(view)
    checks.one_error(checks.problems(thing, world))
    if isinstance(thing, Floating):
        checks.one_error(_machines(view, thing))
    more: list[Compare] = []
    ops: list[Op] = []
    if isinstance(thing, Reservation):
        assert present is None or isinstance(present, Reservation)
        thing, more, ops = reserve(view, world, thing, present)
    compares = [*view.guards(), unchanged(entry) if entry else absent(record.key), *more]
    compares += [unchanged(view.entries[key]) for key in _needed(thing)]
    return Change(thing=thing, compares=compares, ops=[record_of(thing), *ops])


def _machines(view: View, thing: Floating) -> Iterator[Invalid]:
    """The machines that take tunnels at an address that is to float."""
    for entry in view.beneath(model.ENDPOINTS):
        with contextlib.suppress(NetError):
            endpoint = parse.parse_endpoint(parse.decoded(entry.value))
            if endpoint.address == thing.address:
                yield Invalid(f"floating {thing.key} is machine {endpoint.machine}'s own address; give another")


def _needed(thing: Object) -> list[str]:
    """The records of the networks that an object speaks of."""
    names: Iterable[str] = ()
    match thing:
        case Router():
            names = thing.networks
        case Policy():
            names = checks.policy_networks(thing)
        case Reservation() | Floating():
            names = (thing.network,)
    return [f"{model.NETWORKS}{checks.tenant_of(thing)}/{name}" for name in names]


def change_network(view: View, wanted: Network) -> Change:
    """Write a network that is there, with other properties but nothing changed of what ports rely on. NotFound,
    Conflict."""
    record = record_of(wanted)
    entry = view.entries.get(record.key)
    if entry is None:
        raise NotFound(f"network {wanted.key} does not exist; create it first")
    present = read(entry)
    assert isinstance(present, Network)
    if fixed := checks.fixed_changes(wanted, present):
        raise Conflict(f"network {wanted.key}: cannot change {'; '.join(fixed)}; remove it and create it anew")
    checks.one_error(checks.problems(wanted, world_of(view)))
    return Change(thing=wanted, compares=[*view.guards(), unchanged(entry)], ops=[record])


def remove(view: View, word: str, key: str) -> Change:
    """Remove an object, also one that cannot be read. NotFound, Conflict."""
    kind = KINDS[word]
    entry = view.entries.get(kind.prefix + key)
    if entry is None:
        raise NotFound(f"{word} {key} does not exist")
    ops: list[Op] = [DeleteOp(entry.key)]
    compares = [*view.guards(), unchanged(entry)]
    if word == "tenant" and (error := checks.in_use(Tenant(name=key), world_of(view))):
        raise error
    if word == "port":
        bound = f"{entry.key}{BOUND}"
        if holder := view.entries.get(bound):
            raise Conflict(f"port {key} is used by {owner(holder)}; detach it there first")
        compares.append(absent(bound))
        mine = (OWNER + key).encode()
        ops += [DeleteOp(claim.key) for claim in view.beneath(model.ADDRESSES) if claim.value == mine]
    return Change(compares=compares, ops=ops)
