"""What the command line and the API ask of units: texts and orders go in, rows come out. All of it is in the store.

An order is durable when the call returns; engine and agents follow. A row whose order no agent has acted on yet says
so: its state is the one the order leads through, never an old one that could be taken for the outcome.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hawser.store import DeleteOp, KeyValue, Op, PutOp, Store, absent, unchanged

from . import records
from .compile import compile_unit, locate
from .errors import Conflict, Invalid, NotFound
from .model import Desired, Service
from .names import parse_name
from .records import DESIRED, PLACEMENTS, STATES, UNITS, Intent, Order, State, UnitText

TRIES = 16
Row = dict[str, Any]
Check = Callable[[Service], Sequence[str]]
_PENDING = {Desired.LAUNCHED: ("activating", "start"), Desired.LOADED: ("deactivating", "stop")}


class Registry:
    """The units in the store."""

    def __init__(self, store: Store, check: Check | None = None) -> None:
        """`check` knows the limits of what runs units: it says in words what would fail at the start of one, each best
        begun with `[Section] Key=`, which gives it a line; nothing when all is well."""
        self._store = store
        self._check = check

    async def submit(self, name: str, text: str) -> str:
        """Keep a unit's text, return its hash; what runs another text of it is restarted with this one.

        Invalid, with every problem, of a text that means nothing or could not be started; nothing is kept then.
        """
        service = compile_unit(name, text)
        if self._check is not None and (problems := locate(text, self._check(service))):
            raise Invalid.of(name, problems)
        ops: list[Op] = [PutOp(UNITS + name, records.encode(UnitText(text=text, hash=service.hash)))]
        order = PutOp(DESIRED + name, records.encode(Order(state=Desired.INACTIVE)))
        await self._store.txn([absent(DESIRED + name)], [*ops, order], ops)
        return service.hash

    async def set_desired(self, name: str, state: Desired | str) -> None:
        """Order a unit to be inactive, loaded or launched; each order counts, also one like the last.

        An instance that was not submitted is made from its template. NotFound, Invalid.
        """
        try:
            wanted = Desired(state)
        except ValueError:
            raise Invalid(f"desired state {state!r} is none of {', '.join(Desired)}") from None
        if parse_name(name).is_template and wanted is not Desired.INACTIVE:
            raise Invalid(f"{name} is a template; name an instance, such as {name.replace('@', '@1')}")
        await self._instantiate(name)
        await self._order(name, lambda order: Order(state=wanted, restart=order.restart))

    async def restart(self, name: str) -> None:
        """Order a stop and a start. NotFound; Conflict when the unit is not meant to run."""

        def again(order: Order) -> Order:
            if order.state is not Desired.LAUNCHED:
                raise Conflict(f"{name} is {order.state}, not launched; start it instead")
            return Order(state=order.state, restart=order.restart + 1)

        await self._order(name, again)

    async def destroy(self, name: str) -> None:
        """Forget a unit; whoever runs it stops it. NotFound."""
        ops = [DeleteOp(UNITS + name), DeleteOp(DESIRED + name), DeleteOp(PLACEMENTS + name)]
        if (await self._store.txn([], ops)).results[0] == 0:
            raise _missing(name)

    async def text(self, name: str) -> str:
        """A unit's text as submitted. NotFound."""
        entry = await self._store.get(UNITS + name)
        stored = records.decode(entry.value, UnitText) if entry else None
        if stored is None:
            raise _missing(name)
        return stored.text

    async def service(self, name: str) -> Service:
        """A unit's meaning. NotFound, Invalid."""
        return compile_unit(name, await self.text(name))

    async def listing(self) -> list[Row]:
        """One row for each unit and machine, by name: name, desired, machine, load, active, sub, reason, hash, …"""
        entries = {entry.key: entry for entry in (await self._store.range(records.ROOT, prefix=True)).kvs}
        left = _left(entries)
        return [row for intent in records.intents(entries).values() for row in _rows(intent, entries, left)]

    async def show(self, name: str) -> Row:
        """One unit's row. NotFound."""
        entries: dict[str, KeyValue] = {}
        for key in (UNITS + name, DESIRED + name, PLACEMENTS + name):
            if entry := await self._store.get(key):
                entries[key] = entry
        intent = records.intents(entries).get(name)
        if intent is None:
            raise _missing(name)
        for machine in intent.machines:
            if entry := await self._store.get(records.state_key(machine, name)):
                entries[entry.key] = entry
        if not intent.machines:
            entries |= {entry.key: entry for entry in (await self._store.range(STATES, prefix=True)).kvs}
        return _rows(intent, entries, _left(entries))[0]

    async def _instantiate(self, name: str) -> None:
        template = parse_name(name).template
        if template is None or await self._store.get(UNITS + name) is not None:
            return
        try:
            text = await self.text(template)
        except NotFound:
            raise _missing(name) from None
        await self.submit(name, text)

    async def _order(self, name: str, change: Callable[[Order], Order]) -> None:
        for _ in range(TRIES):
            unit, desired = await self._store.get(UNITS + name), await self._store.get(DESIRED + name)
            if unit is None:
                raise _missing(name)
            now = (records.decode(desired.value, Order) if desired else None) or Order(state=Desired.INACTIVE)
            put = PutOp(DESIRED + name, records.encode(change(now)))
            compares = [unchanged(unit), unchanged(desired) if desired else absent(DESIRED + name)]
            if (await self._store.txn(compares, [put])).succeeded:
                return
        raise Conflict(f"{name} is being changed by others all the time; try again")


def _missing(name: str) -> NotFound:
    return NotFound(f"unit {name} does not exist; submit its file first")


def _rows(intent: Intent, entries: Mapping[str, KeyValue], left: Mapping[str, list[str]]) -> list[Row]:
    # an unloaded unit is still to be seen on the machine that stops it
    machines = intent.machines or tuple(left.get(intent.name, ()))
    if not machines:
        return [_row(intent, None, None)]
    rows = []
    for machine in machines:
        entry = entries.get(records.state_key(machine, intent.name))
        rows.append(_row(intent, machine, records.decode(entry.value, State) if entry else None))
    return rows


def _left(entries: Mapping[str, KeyValue]) -> dict[str, list[str]]:
    """Unit → the machines that have a state of it."""
    found: dict[str, list[str]] = {}
    for key in sorted(entries):
        if key.startswith(STATES):
            machine, _, name = key.removeprefix(STATES).partition("/")
            found.setdefault(name, []).append(machine)
    return found


def _row(intent: Intent, machine: str | None, state: State | None) -> Row:
    load, active, sub, reason = "unloaded", "inactive", "dead", intent.reason
    if state is not None:
        load, active, sub, reason = state.load, state.active, state.sub, state.reason
    seen = state is not None and state.seen >= intent.revision and state.hash == intent.hash
    if not seen and intent.state in _PENDING and not (machine is None and reason):
        quiet = active in ("inactive", "failed")
        if intent.state is Desired.LAUNCHED or not quiet:
            active, sub = _PENDING[intent.state]
        where = f"machine {machine}" if machine else "a machine"
        reason = reason if state is not None and reason.startswith("waits for ") else f"{where} has not acted yet"
    return {
        "name": intent.name,
        "desired": str(intent.state),
        "machine": machine,
        "load": load,
        "active": active,
        "sub": sub,
        "reason": reason,
        "hash": intent.hash,
        "restarts": state.life.restarts if state else 0,
    }
