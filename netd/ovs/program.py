"""A machine's flows beside the fabric that they were compiled from, so that a later fabric costs what differs in it.

Records that were not written anew are the same objects in both, so finding what differs is a walk over keys. While only
ports come and go, just these are compiled; when anything else of a tenant's changes, the tenant is, and when an
endpoint does, what leads there.
"""

from collections.abc import Mapping

from ..fabric import Fabric
from ..model import Address, Kind, Port
from ..site import Site
from . import layout, tables
from .flow import Flow, Key
from .pipeline import Change, Pipeline
from .scope import Ofports

OBJECTS = ("networks", "routers", "policies")


class Moves:
    """Which addresses became another port's: whoever spoke to one goes on sending to its old MAC until he is told."""

    def __init__(self) -> None:
        self._macs: dict[tuple[str, Address], str] = {}
        self.untold: set[str] = set()
        """Keys of ports that have such an address"""

    def note(self, port: Port) -> None:
        """Look at a port as it is now."""
        for address in port.addresses:
            if self._macs.get((port.on, address.ip), port.mac) != port.mac:
                self.untold.add(port.key)
            self._macs[port.on, address.ip] = port.mac


class Program:
    """The pipeline of one machine and its own copy of the fabric."""

    def __init__(self, fabric: Fabric, site: Site, ofports: Ofports, moves: Moves) -> None:
        """`moves` outlives it. Invalid, as `compile_flows`."""
        self._moves = moves
        self._fabric, self._zones = Fabric(), layout.zones(site)
        self._take_objects(fabric, self._zones)
        for port in fabric.ports.values():
            self._put(port)
        mark = tables.instance_hash(site.instance)
        self._pipeline = Pipeline(self._fabric, site.machine, ofports, zones=self._zones, instance=mark)

    @property
    def flows(self) -> Mapping[Key, Flow]:
        """Every flow that is to be there."""
        return self._pipeline.flows

    def take(self, fabric: Fabric, site: Site, ofports: Ofports) -> Change:
        """The fabric as it is now: flows to add, and to remove. Invalid; then make another."""
        found: dict[Key, tuple[Flow, bool]] = {}
        zones = layout.zones(site)
        tenants, machines = self._take_objects(fabric, zones)
        if tenants or machines:
            _add(found, self._pipeline.refresh(tenants=tenants, machines=machines, ofports=ofports, zones=zones))
        old, new = self._fabric.ports, fabric.ports
        changed = [(old.get(key), new.get(key)) for key in sorted(_different(old, new))]
        for before, after in changed or [(None, None)]:  # numbers alone may differ
            if before is not None:
                self._fabric.drop_port(before.key)
            if after is not None:
                self._put(after)
            _add(found, self._pipeline.change(before, after, ofports=ofports))
        return [flow for flow, there in found.values() if there], [flow for flow, there in found.values() if not there]

    def _put(self, port: Port) -> None:
        self._fabric.put_port(port)
        network = self._fabric.networks.get(port.on)
        if network is not None and network.kind is Kind.OVS:
            self._moves.note(port)

    def _take_objects(self, fabric: Fabric, zones: dict[str, int]) -> tuple[set[str], set[str]]:
        """Take over everything but ports; the tenants and the machines whose things differ."""
        mine = self._fabric
        tenants = {name for name, _ in zones.items() ^ self._zones.items()}
        tenants |= _different(mine.tenants, fabric.tenants)
        for name in OBJECTS:
            tenants |= {key.partition("/")[0] for key in _different(getattr(mine, name), getattr(fabric, name))}
            setattr(mine, name, dict(getattr(fabric, name)))
        machines = _different(mine.endpoints, fabric.endpoints)
        mine.tenants, mine.endpoints, self._zones = dict(fabric.tenants), dict(fabric.endpoints), zones
        return tenants, machines


def _different(old: Mapping[str, object], new: Mapping[str, object]) -> set[str]:
    """Keys under which two maps differ."""
    changed = {key for key, value in new.items() if (had := old.get(key)) is not value and had != value}
    return changed | (old.keys() - new.keys())


def _add(found: dict[Key, tuple[Flow, bool]], change: Change) -> None:
    """One change after another, as one."""
    added, removed = change
    found.update((flow.key, (flow, False)) for flow in removed)
    found.update((flow.key, (flow, True)) for flow in added)
