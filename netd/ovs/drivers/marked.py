"""Rows with our mark, read into values and written from them; works on a replica's tables, on its thread."""

from collections.abc import Mapping
from typing import Any

import ovs.db.data
import ovs.db.error

from ...errors import Conflict, Invalid, Unavailable
from ..rows import Assigned, BridgeRow, MirrorRow, OvsRow, PortRow

INSTANCE, KEY = "hawser-instance", "hawser-key"
PENDING = "ovs-vswitchd has not given it a number yet"


def observe(tables: Any, instance: str) -> dict[str, OvsRow]:
    """Our rows by key."""
    found: dict[str, OvsRow] = {}
    for bridge in _ours(tables, "Bridge", instance):
        found[bridge.external_ids[KEY]] = BridgeRow(
            name=bridge.name,
            datapath=bridge.datapath_type,
            protocols=tuple(sorted(bridge.protocols)),
            fail_mode="".join(bridge.fail_mode),
            config=dict(bridge.other_config),
        )
        for port in bridge.ports:
            if _is_ours(port, instance):
                found[port.external_ids[KEY]] = _port(bridge.name, port)
        for mirror in bridge.mirrors:
            if _is_ours(mirror, instance):
                found[mirror.external_ids[KEY]] = _mirror(bridge.name, mirror)
    return found


def configuration(tables: Any) -> int:
    """The number of the configuration that ovs-vswitchd has made."""
    return max((int(row.cur_cfg) for row in tables["Open_vSwitch"].rows.values()), default=0)


def assigned(tables: Any, instance: str) -> Assigned:
    """Numbers and errors of our ports."""
    numbers, errors = {}, {}
    for port in _ours(tables, "Port", instance):
        key = port.external_ids[KEY]
        interface = port.interfaces[0]
        number = interface.ofport[0] if interface.ofport else None
        if number is not None and number > 0:
            numbers[key] = int(number)
        elif number is None and not interface.error:
            errors[key] = PENDING
        else:
            errors[key] = "".join(interface.error) or f"ovs-vswitchd cannot open {interface.name}"
    return Assigned(numbers=numbers, errors=errors)


def change(txn: Any, tables: Any, instance: str, desired: Mapping[str, OvsRow]) -> None:
    """Write what makes our rows the desired ones. Conflict, Invalid: the transaction is not to be sent."""
    _Change(txn, tables, instance, observe(tables, instance), desired).write()


class _Change:
    """One transaction, from what is there to what should be."""

    def __init__(
        self, txn: Any, tables: Any, instance: str, observed: Mapping[str, OvsRow], desired: Mapping[str, OvsRow]
    ) -> None:
        self._txn, self._tables, self._instance = txn, tables, instance
        self._observed, self._desired = observed, {key: _sorted(row) for key, row in desired.items()}
        rows = tables["Open_vSwitch"].rows.values()
        if not rows:
            raise Unavailable("ovsdb has no row of Open_vSwitch; run: ovs-vsctl --no-wait init")
        self._root = next(iter(rows))
        self._bridges = {row.name: row for row in _ours(tables, "Bridge", instance)}
        self._ports = {row.external_ids[KEY]: row for row in _ours(tables, "Port", instance)}
        self._mirrors = {row.external_ids[KEY]: row for row in _ours(tables, "Mirror", instance)}
        self._wanted = {row.name for row in self._desired.values() if isinstance(row, BridgeRow)}
        self._kept = {
            row.name
            for key, row in observed.items()
            if isinstance(row, BridgeRow) and not _is_another(row, self._desired.get(key))
        }

    def write(self) -> None:
        """Refusals first, then removals, then what is new or different: bridges, ports, mirrors."""
        self._refuse_taken_names()
        for key, row in self._observed.items():
            if key not in self._desired or _is_another(row, self._desired[key]):
                self._remove(key, row)
        changed = {key: row for key, row in self._desired.items() if self._is_to_write(key, row)}
        for key, row in changed.items():
            if isinstance(row, BridgeRow):
                self._put_bridge(key, row)
        for key, row in changed.items():
            if isinstance(row, PortRow):
                self._put_port(key, row)
        for key, row in changed.items():
            if isinstance(row, MirrorRow):
                self._put_mirror(key, row)

    def _refuse_taken_names(self) -> None:
        # a bridge has a port and an interface of its name
        theirs = {row.name for row in self._tables["Bridge"].rows.values() if not _is_ours(row, self._instance)}
        internal = {*theirs, *self._bridges}
        theirs |= {
            row.name
            for row in self._tables["Port"].rows.values()
            if not _is_ours(row, self._instance) and row.name not in internal
        }
        for key, row in self._desired.items():
            name = row.name if isinstance(row, BridgeRow) else row.ifname if isinstance(row, PortRow) else ""
            if name in theirs:
                raise Conflict(f"{key}: Open vSwitch has a bridge or port {name} that is not ours")
            if not isinstance(row, BridgeRow) and row.bridge not in self._wanted:
                raise Invalid(f"{key}: {row.bridge} is none of our bridges")

    def _is_to_write(self, key: str, row: OvsRow) -> bool:
        """Whether it differs, or goes with a bridge that is made anew."""
        return self._observed.get(key) != row or (not isinstance(row, BridgeRow) and row.bridge not in self._kept)

    def _remove(self, key: str, row: OvsRow) -> None:
        bridge = self._bridges.get(row.name if isinstance(row, BridgeRow) else row.bridge)
        if bridge is None:
            return
        if isinstance(row, BridgeRow):
            for port in bridge.ports:
                self._drop_port(port)
            for mirror in bridge.mirrors:
                self._mirrors.pop(mirror.external_ids.get(KEY), None)
            self._root.delvalue("bridges", self._bridges.pop(row.name))
        elif isinstance(row, PortRow) and key in self._ports:
            port = self._ports[key]
            bridge.delvalue("ports", port)
            self._drop_port(port)
        elif key in self._mirrors:
            bridge.delvalue("mirrors", self._mirrors.pop(key))

    def _drop_port(self, port: Any) -> None:
        """The server collects what is in no bridge, save limits, which are roots."""
        self._ports.pop(port.external_ids.get(KEY), None)
        self._unlimit(port)

    def _put_bridge(self, key: str, row: BridgeRow) -> None:
        bridge = self._bridges.get(row.name)
        if bridge is None:
            bridge = self._bridges[row.name] = self._insert("Bridge", key, name=row.name)
            own = self._txn.insert(self._tables["Interface"])
            _set(own, name=row.name, type="internal")
            port = self._txn.insert(self._tables["Port"])
            _set(port, name=row.name, interfaces=[own])
            bridge.addvalue("ports", port)
            self._root.addvalue("bridges", bridge)
        _set(bridge, datapath_type=row.datapath, protocols=list(row.protocols), fail_mode=[row.fail_mode])
        _set(bridge, other_config=dict(row.config))

    def _put_port(self, key: str, row: PortRow) -> None:
        port, observed = self._ports.get(key), self._observed.get(key)
        known = observed.rate if port and isinstance(observed, PortRow) else None
        if port is None:
            interface = self._insert("Interface", key, name=row.ifname)
            port = self._ports[key] = self._insert("Port", key, name=row.ifname, interfaces=[interface])
            self._bridges[row.bridge].addvalue("ports", port)
        interface = port.interfaces[0]
        _set(interface, type=row.type, options=dict(row.options))
        _set(interface, ofport_request=[] if row.ofport is None else [row.ofport])
        _set(interface, ingress_policing_rate=row.policing, ingress_policing_burst=row.burst)
        if row.rate != known:
            self._unlimit(port)
            _set(port, qos=[] if row.rate is None else [self._limit(key, row.rate)])

    def _put_mirror(self, key: str, row: MirrorRow) -> None:
        mirror = self._mirrors.get(key)
        if mirror is None:
            mirror = self._insert("Mirror", key, name=row.name)
            self._bridges[row.bridge].addvalue("mirrors", mirror)
        _set(mirror, name=row.name, output_port=self._known(row.output))
        _set(mirror, select_src_port=self._known(*row.sources), select_dst_port=self._known(*row.targets))

    def _known(self, *keys: str) -> list[Any]:
        return [self._ports[key] for key in keys if key in self._ports]

    def _limit(self, key: str, rate: int) -> Any:
        queue = self._insert("Queue", key, other_config={"max-rate": str(rate)})
        return self._insert("QoS", key, type="linux-htb", other_config={"max-rate": str(rate)}, queues={0: queue})

    def _unlimit(self, port: Any) -> None:
        for qos in getattr(port, "qos", []):  # a new row has no columns yet
            # also where the port goes: the server counts references before it collects rows
            _set(port, qos=[])
            if _is_ours(qos, self._instance):
                for queue in qos.queues.values():
                    queue.delete()
                qos.delete()

    def _insert(self, table: str, key: str, **columns: Any) -> Any:
        row = self._txn.insert(self._tables[table])
        _set(row, external_ids={INSTANCE: self._instance, KEY: key}, **columns)
        return row


def _ours(tables: Any, table: str, instance: str) -> list[Any]:
    return [row for row in tables[table].rows.values() if _is_ours(row, instance)]


def _is_ours(row: Any, instance: str) -> bool:
    ids = getattr(row, "external_ids", {})
    return ids.get(INSTANCE) == instance and KEY in ids


def _is_another(observed: OvsRow, desired: OvsRow | None) -> bool:
    """Whether it is to be made anew: what names it differs."""
    if isinstance(desired, BridgeRow) and isinstance(observed, BridgeRow):
        return (desired.name, desired.datapath) != (observed.name, observed.datapath)
    if isinstance(desired, PortRow) and isinstance(observed, PortRow):
        return (desired.bridge, desired.ifname) != (observed.bridge, observed.ifname)
    if isinstance(desired, MirrorRow) and isinstance(observed, MirrorRow):
        return desired.bridge != observed.bridge
    return True


def _sorted(row: OvsRow) -> OvsRow:
    """As an observation says it: sets have no order."""
    if isinstance(row, BridgeRow):
        return BridgeRow(
            name=row.name,
            datapath=row.datapath,
            protocols=tuple(sorted(row.protocols)),
            fail_mode=row.fail_mode,
            config=dict(row.config),
        )
    if isinstance(row, MirrorRow):
        sources, targets = tuple(sorted(row.sources)), tuple(sorted(row.targets))
        return MirrorRow(bridge=row.bridge, name=row.name, output=row.output, sources=sources, targets=targets)
    return row


def _port(bridge: str, port: Any) -> PortRow:
    interface = port.interfaces[0]
    return PortRow(
        bridge=bridge,
        ifname=port.name,
        type=interface.type,
        options=dict(interface.options),
        ofport=interface.ofport_request[0] if interface.ofport_request else None,
        policing=interface.ingress_policing_rate,
        burst=interface.ingress_policing_burst,
        rate=int(port.qos[0].other_config.get("max-rate", 0)) if port.qos else None,
    )


def _mirror(bridge: str, mirror: Any) -> MirrorRow:
    def keys(ports: list[Any]) -> tuple[str, ...]:
        return tuple(sorted(port.external_ids.get(KEY, port.name) for port in ports))

    return MirrorRow(
        bridge=bridge,
        name=mirror.name,
        output="".join(keys(mirror.output_port)),
        sources=keys(mirror.select_src_port),
        targets=keys(mirror.select_dst_port),
    )


def _set(row: Any, **columns: Any) -> None:
    """Write columns. Invalid for a value that the schema has no place for: the library would leave it out silently."""
    for name, value in columns.items():
        column = row._table.columns[name]
        try:
            ovs.db.data.Datum.from_python(column.type, value, lambda each: getattr(each, "uuid", each))
        except ovs.db.error.Error as error:
            raise Invalid(f"Open vSwitch's {row._table.name}.{name}: {error}") from None
        setattr(row, name, value)
