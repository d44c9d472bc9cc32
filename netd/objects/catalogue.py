"""The catalogue: tenants, routers, policies, reservations and floating addresses in the store, and what must hold.

Networks are read here and written by the agent, which gives them subnets and a VNI; only what may change of one that is
there is changed here. A change reads what it depends on at one revision, decides, and is written if that still holds;
else it looks again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from hawser.store import Compare, DeleteOp, KeyValue, Op, PutOp, RangeOp, RangeResult, Store, unchanged

from .. import model
from ..errors import Conflict, NetError, NotFound
from ..model import Floating, Network, Reservation, Router, Tenant
from . import changes, checks, records
from .checks import World
from .kinds import KINDS, Object, key_of, kind_of
from .records import Change, View

TRIES = 64
APPLIED = f"{model.ROOT}/applied/"
OF_TENANT = (model.NETWORKS, model.RESERVED, model.ROUTERS, model.POLICIES)
BATCH = 100


class Objects:
    """The declared objects of every tenant. Every method may raise StoreError, and NetError when a record that it needs
    cannot be read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, thing: Object, *, new: bool = False) -> Object:
        """Write an object, which must be `new` or may be there; returns it with what was chosen for it.

        Of a network that is there, what its ports do not rely on. Exists, NotFound, Conflict, Invalid, Unavailable (no
        address left).
        """
        if isinstance(thing, Network):
            wanted = thing
            await self._write(wanted.key, _depends(wanted), lambda view: changes.change_network(view, wanted))
            return wanted
        more = _unguarded(thing)
        written = await self._write(
            key_of(thing), _depends(thing), lambda view: changes.put(view, thing, new=new), more
        )
        return written or thing

    async def remove(self, word: str, key: str) -> None:
        """Remove an object by its kind's word and its key. NotFound, Conflict."""
        guarded = _prefixes(key) if word == "tenant" else [KINDS[word].prefix + key]
        more = await self._claims_of(key) if word == "port" else []
        await self._write(key, guarded, lambda view: changes.remove(view, word, key), more)
        await self.disown(f"{word}:{key}")

    async def get(self, word: str, key: str) -> Object:
        """One object. NotFound."""
        entry = await self._store.get(KINDS[word].prefix + key)
        if entry is None:
            raise NotFound(f"{word} {key} does not exist")
        return records.read(entry)

    async def listing(self, word: str, tenant: str | None = None) -> tuple[Object, ...]:
        """The objects of a kind, by key; of one tenant, or of all."""
        found = await self._store.range(KINDS[word].prefix, prefix=True)
        things = [records.read(entry) for entry in found.kvs if records.is_record(entry.key)]
        return tuple(thing for thing in things if tenant in (None, checks.tenant_of(thing)))

    async def world(self) -> World:
        """Every object there is, at one revision."""
        return records.world_of(await self._look([kind.prefix for kind in KINDS.values()]))

    async def bound(self) -> Mapping[str, str]:
        """Which reservations are in use, by key, and by whom, in words."""
        found = await self._store.range(model.RESERVED, prefix=True)
        ends = [entry for entry in found.kvs if entry.key.endswith(records.BOUND)]
        return {entry.key[len(model.RESERVED) : -len(records.BOUND)]: records.owner(entry) for entry in ends}

    async def users_of_network(self, tenant: str, name: str) -> tuple[str, ...]:
        """What needs a network, in words; ports that are attached left out."""
        view = await self._look(_prefixes(tenant))
        world = records.world_of(view)
        network = world.network(tenant, name)
        return checks.users(network, world) if network else ()

    async def unused(self, tenant: str, name: str) -> list[Compare]:
        """Compares for the transaction that removes a network: true while nothing needs it. NotFound, Conflict."""
        view = await self._look(_prefixes(tenant))
        world = records.world_of(view)
        network = world.network(tenant, name)
        if network is None:
            raise NotFound(f"network {tenant}/{name} does not exist")
        if error := checks.in_use(network, world):
            raise error
        return [*view.guards(), unchanged(view.entries[model.NETWORKS + network.key])]

    async def attached(self) -> Mapping[str, tuple[str, ...]]:
        """The sandboxes on each network, by the network's key."""
        found: dict[str, set[str]] = {}
        for entry in (await self._store.range(model.PORTS, prefix=True)).kvs:
            port = records.read_port(entry)
            found.setdefault(port.on, set()).add(port.sandbox)
        return {key: tuple(sorted(names)) for key, names in found.items()}

    async def applied(self) -> Mapping[str, frozenset[str]]:
        """The names (`kind:key`) of the objects that each set has applied, by the set's name."""
        found: dict[str, set[str]] = {}
        result = await self._store.read(RangeOp(APPLIED, prefix=True, keys_only=True))
        for entry in result.kvs:
            owner, word, key = entry.key.removeprefix(APPLIED).split("/", 2)
            found.setdefault(owner, set()).add(f"{word}:{key}")
        return {owner: frozenset(names) for owner, names in found.items()}

    async def own(self, owner: str, names: Iterable[str]) -> None:
        """Note that a set has applied objects."""
        await self._batches(PutOp(_mark(owner, name), b"") for name in names)

    async def disown(self, *names: str) -> None:
        """Forget which sets have applied objects: they are gone. Whoever removes a network tells it here."""
        sets = await self.applied()
        await self._batches(DeleteOp(_mark(owner, name)) for owner, of in sets.items() for name in names if name in of)

    async def release(self, owner: str, names: Iterable[str]) -> None:
        """Forget that a set has applied objects."""
        await self._batches(DeleteOp(_mark(owner, name)) for name in names)

    async def _batches(self, ops: Iterable[Op]) -> None:
        pending = list(ops)
        for start in range(0, len(pending), BATCH):
            await self._store.txn([], pending[start : start + BATCH])

    async def _claims_of(self, key: str) -> list[str]:
        """Beneath what a reservation's claims are: its network's, or when it cannot be read, all of its tenant's."""
        try:
            reservation = await self.get("port", key)
            assert isinstance(reservation, Reservation)
            return [f"{model.ADDRESSES}{reservation.tenant}/{reservation.network}/"]
        except NetError:
            return [f"{model.ADDRESSES}{key.partition('/')[0]}/"]

    async def _write(
        self, key: str, guarded: Sequence[str], decide: Callable[[View], Change], more: Sequence[str] = ()
    ) -> Object | None:
        for _ in range(TRIES):
            view = await self._look(guarded, more)
            change = decide(await self._with_port(view, key))
            if (await self._store.txn(change.compares, change.ops)).succeeded:
                return change.thing
        raise Conflict(f"{key}: too many others change its tenant's objects at once; try again")

    async def _look(self, guarded: Iterable[str], more: Iterable[str] = ()) -> View:
        """What is beneath prefixes at one revision; nothing may be put beneath the `guarded` ones."""
        prefixes = [*guarded]
        answer = await self._store.txn([], [RangeOp(prefix, prefix=True) for prefix in (*prefixes, *more)])
        entries: dict[str, KeyValue] = {}
        for result in answer.results:
            assert isinstance(result, RangeResult)
            entries |= {entry.key: entry for entry in result.kvs}
        return View(entries=entries, prefixes=prefixes, revision=answer.revision)

    async def _with_port(self, view: View, key: str) -> View:
        """The view, with the port that uses the reservation of this key, if there is one."""
        bound = view.entries.get(f"{model.RESERVED}{key}{records.BOUND}")
        port = await self._store.get(model.PORTS + bound.value.decode(errors="replace")) if bound else None
        if port is None:
            return view
        return View(entries={**view.entries, port.key: port}, prefixes=view.prefixes, revision=view.revision)


def _prefixes(tenant: str) -> list[str]:
    """Where the records of all that a tenant has are."""
    return [*(f"{prefix}{tenant}/" for prefix in OF_TENANT), f"{model.TENANTS}{tenant}", model.FLOATING]


def _depends(thing: Object) -> list[str]:
    """Where the records are on which an object depends; its own is among them."""
    tenant = checks.tenant_of(thing)
    own, networks = kind_of(thing).prefix + key_of(thing), f"{model.NETWORKS}{tenant}/"
    match thing:
        case Tenant():
            return [own]
        case Network() | Floating():
            return [networks, model.FLOATING]
        case Router():
            return [networks, f"{model.ROUTERS}{tenant}/"]
        case Reservation():
            # a MAC that is made of the name is nobody else's, and addresses have claims
            others = f"{model.RESERVED}{tenant}/"
            return [networks + thing.network, others if thing.mac else own]
    return [networks, own]


def _unguarded(thing: Object) -> list[str]:
    """What else is looked at: of a reservation claims of addresses, which are compared one by one, and for a MAC of its
    own the ports; of a floating address the machines'."""
    if isinstance(thing, Floating):
        return [model.ENDPOINTS]
    if not isinstance(thing, Reservation):
        return []
    return [f"{model.ADDRESSES}{thing.tenant}/{thing.network}/", *([model.PORTS] if thing.mac else [])]


def _mark(owner: str, name: str) -> str:
    word, _, key = name.partition(":")
    return f"{APPLIED}{owner}/{word}/{key}"
