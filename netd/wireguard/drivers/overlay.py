"""The encrypted overlay of one machine: its keys, two interfaces, and the routes to the others' inner addresses.

`step` brings all of it to what the machines' records and the time ask for; it is called when a record changes, at
`deadline`, and every second or so: it starts an ended wireguard-go anew and moves traffic once a handshake was seen.
Traffic leaves a slot before the slot changes under it: routes first, then interfaces, then routes. What fails is
reported, and the rest is done all the same; only when neither slot works does a step raise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path as FilePath

from ...drivers.netlink import Netlink
from ...errors import NetError, Unavailable
from ...model import Address, Endpoint
from .. import keys as pure
from ..keys import Keys
from ..paths import Evidence, Path, in_use, paths
from ..specs import (
    PORT,
    SLOTS,
    Peers,
    WireguardSpec,
    alias_of,
    announce,
    compile_peers,
    ifname_of,
    inner_address,
    peers_of,
)
from ..state import Device, State, stays
from .interface import Interface
from .kernel import Kernel
from .keyfile import KeyFile
from .probe import Flavour, probe
from .routes import Routes, current
from .userspace import Userspace

States = tuple[State | None, State | None]
Specs = tuple[WireguardSpec, WireguardSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a step came to: the record to publish (whenever it differs from the published one), what is wrong with
    others' records (`problems`) and here (`failures`, tried again by the next step), and by machine the slot it is sent
    to through and the latest handshake's Unix time (0: none)."""

    own: Endpoint
    problems: tuple[str, ...]
    failures: tuple[str, ...]
    slots: dict[str, int]
    handshakes: dict[str, float]


class EncryptedOverlay:
    """Make and use it on one thread, in the namespace of the underlay; blocking."""

    def __init__(
        self,
        machine: str,
        instance: str,
        data: FilePath,
        rundir: FilePath,
        *,
        flavour: Flavour | None = None,
        port: int = PORT,
        period: float = pure.PERIOD,
    ) -> None:
        """`flavour` None: what `probe` finds. Unavailable with the reason when there is no WireGuard."""
        if flavour is None:
            found = probe()
            if found.flavour is None:
                raise Unavailable(found.reason or "no WireGuard")
            flavour = found.flavour
        self.flavour = flavour
        self._machine, self._instance, self._port = machine, instance, port
        self._file = KeyFile(data, machine, period)
        self._keys: Keys | None = None
        self._netlink = Netlink()
        self._routes = Routes(self._netlink)
        self.devices: tuple[Device, Device] = (self._device(flavour, rundir, 0), self._device(flavour, rundir, 1))

    def _device(self, flavour: Flavour, rundir: FilePath, slot: int) -> Device:
        ifname, alias = ifname_of(self._instance, slot), alias_of(self._instance, slot)
        if flavour is Flavour.KERNEL:
            return Interface(self._netlink, ifname, alias, Kernel(self._netlink, ifname, alias))
        return Interface(self._netlink, ifname, alias, Userspace(ifname, alias, rundir / f"{ifname}.log"))

    def close(self) -> None:
        """Let go; nothing is removed."""
        self._netlink.close()

    def deadline(self, now: float) -> float:
        """The Unix time at which keys change or traffic moves next; `now` before the first step."""
        return self._keys.deadline(now) if self._keys else now

    def step(self, address: Address, mtu: int, records: Iterable[Endpoint], now: float) -> Report:
        """Have what `records`, our own address in the underlay and that link's MTU ask for. `now` is Unix time.

        Invalid for a key file, port or MTU that cannot be used; what the first slot failed with when no slot works.
        """
        keys = self._keys = self._keys or self._file.load(now)
        states = (_state(self.devices[0]), _state(self.devices[1]))
        records = tuple(records)
        own = announce(self._machine, address, mtu, keys.public, self._port)
        peers = peers_of(own, records)
        due = keys.due(now)
        if due is not None:
            before = self._evidence(peers, (self._spec(own, peers, 0), self._spec(own, peers, 1)), states)
            if not in_use(before, due, now):
                keys = self._rotate(keys, now)
                own = announce(self._machine, address, mtu, keys.public, self._port)
                peers = peers_of(own, records)
        specs = (self._spec(own, peers, 0), self._spec(own, peers, 1))
        evidence = self._evidence(peers, specs, states)
        wanted = paths(evidence, keys.preferred(now), now)
        failures = self._reach(wanted, specs, keys)
        return _report(own, peers, evidence, wanted, failures)

    def _rotate(self, keys: Keys, now: float) -> Keys:
        fresh = keys.rotate(now, self._file.seed())
        self._file.save(fresh)
        self._keys = fresh
        return fresh

    def _spec(self, own: Endpoint, peers: Peers, slot: int) -> WireguardSpec:
        return compile_peers(own, peers, self._instance, slot)

    def _evidence(self, peers: Peers, specs: Specs, states: States) -> dict[IPv6Address, Evidence]:
        now_through = current(self._routes.observe(self._indices()))
        found: dict[IPv6Address, Evidence] = {}
        for machine in peers.records:
            inner = inner_address(machine)
            seen = (_handshake(states[0], specs[0], inner), _handshake(states[1], specs[1], inner))
            found[inner] = Evidence(handshakes=seen, current=now_through.get(inner))
        return found

    def _reach(self, wanted: frozenset[Path], specs: Specs, keys: Keys) -> tuple[str, ...]:
        failures: list[NetError] = []

        def attempt(act: Callable[[], None]) -> bool:
            try:
                act()
            except NetError as error:
                failures.append(error)
                return False
            return True

        attempt(lambda: self._routes.apply(wanted, self._indices()))
        works = [attempt(partial(self.devices[slot].apply, specs[slot], keys.slots[slot].private)) for slot in SLOTS]
        attempt(lambda: self._routes.apply(wanted, self._indices()))
        if not any(works):
            raise failures[0]
        return tuple(dict.fromkeys(str(error) for error in failures))

    def _indices(self) -> tuple[int | None, int | None]:
        found = [self._netlink.link(ifname_of(self._instance, slot)) for slot in SLOTS]
        marked = [
            link if link and link.alias == alias_of(self._instance, slot) else None for slot, link in enumerate(found)
        ]
        return (marked[0].index if marked[0] else None, marked[1].index if marked[1] else None)

    def remove(self) -> None:
        """Take everything away but the keys; the routes go with their interfaces."""
        for device in self.devices:
            device.remove()


def _state(device: Device) -> State | None:
    """As `device.state`; nothing where it cannot be read, which `apply` says once more."""
    try:
        return device.state()
    except NetError:
        return None


def _handshake(state: State | None, spec: WireguardSpec, inner: IPv6Address) -> float | None:
    """The latest handshake with a machine in a slot, 0 when the session is about to be set anew, None without the
    slot."""
    for peer in spec.peers:
        if peer.allowed_ips == (f"{inner}/128",):
            if state is None or not stays(state, spec, peer.public_key):
                return 0.0
            return state.peers[peer.public_key].handshake
    return None


def _report(
    own: Endpoint,
    peers: Peers,
    evidence: dict[IPv6Address, Evidence],
    wanted: frozenset[Path],
    failures: tuple[str, ...],
) -> Report:
    slots = current(wanted)
    names = {inner_address(machine): machine for machine in peers.records}
    return Report(
        own=own,
        problems=peers.problems,
        failures=failures,
        slots={names[inner]: slot for inner, slot in slots.items()},
        handshakes={names[inner]: max(one or 0.0 for one in seen.handshakes) for inner, seen in evidence.items()},
    )
