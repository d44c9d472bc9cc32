"""The names of one tenant, made from its instances: the zone `mesh.internal` as that tenant sees it.

    <service>.<tenant>.mesh.internal                A, AAAA and SRV of the healthy instances
    <instance>.<service>.<tenant>.mesh.internal     A and AAAA of one healthy instance
    _<service>._tcp.<tenant>.mesh.internal          SRV (RFC 2782), the targets' addresses in the additional section
    <address>.in-addr.arpa, <address>.ip6.arpa      PTR of a healthy instance's address
    mesh.internal                                   SOA, NS; ns.mesh.internal is the listener itself

A name exists while something is announced under it, healthy or not: a service without a healthy instance, an IPv4-only
service asked for AAAA, and a name that only has names below it answer with no data, never with "no such name", which a
resolver would keep for every type (RFC 2308, RFC 8020). An instance without a port (0) has addresses and no SRV. Names
of other tenants do not exist here. An address that the listener's network cannot reach (`Listener.hidden`) is left out
everywhere; an instance that has no other is as one without an address. Pure.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network

from .model import Address, Instance
from .wire import Name, Rcode, Type, write_name

ZONE: Name = (b"mesh", b"internal")
SERVER: Name = (b"ns", *ZONE)
TTL, NEGATIVE_TTL = 2, 1


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record, its owner not yet written."""

    owner: Name
    type: Type
    rdata: bytes
    ttl: int = TTL


@dataclass(frozen=True, slots=True)
class Answer:
    """What the zone says of a name; with no `answers` the SOA goes into the authority section, if `soa`."""

    rcode: Rcode = Rcode.NOERROR
    answers: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    soa: bool = True


NODATA, NXDOMAIN = Answer(), Answer(rcode=Rcode.NXDOMAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where a tenant's containers ask: the gateways of their networks (UDP and TCP), and whether names of others are
    asked of the machine's resolvers. Addresses in a `hidden` subnet are not given: networks of one tenant do not reach
    each other unless a router joins them, so these are the subnets of its others."""

    tenant: str
    addresses: tuple[Address, ...]
    place: str = ""
    """The network namespace that has the addresses; "" is the process's own"""
    forward: bool = False
    hidden: tuple[IPv4Network | IPv6Network, ...] = ()

    def shows(self, address: Address) -> bool:
        """Whether who asks here may be told of an address."""
        return not any(address in subnet for subnet in self.hidden)


@dataclass(slots=True)
class View:
    """The instances of one tenant by name and by address."""

    listener: Listener
    serial: int = 1
    services: dict[bytes, dict[bytes, Instance]] = field(default_factory=dict)
    reverse: dict[Name, list[Instance]] = field(default_factory=dict)

    @classmethod
    def of(cls, listener: Listener, instances: Iterable[Instance], serial: int) -> "View":
        """The view of a listener's tenant; instances of others are left out."""
        view = cls(listener, serial)
        for instance in instances:
            if instance.tenant != listener.tenant:
                continue
            shown = tuple(filter(listener.shows, instance.addresses))
            for address in instance.addresses if instance.healthy else ():
                found = view.reverse.setdefault(reverse_name(address), [])
                if address in shown:
                    found.append(instance)
            if len(shown) < len(instance.addresses):
                instance = replace(instance, addresses=shown)
            view.services.setdefault(instance.service.encode(), {})[instance.id.encode()] = instance
        return view

    def owns(self, name: Name) -> bool:
        """Whether the answer is ours to give, with authority."""
        return name[-2:] == ZONE or name in self.reverse

    def find(self, name: Name, type: int) -> Answer:
        """The answer to a name that is ours."""
        if name[-2:] != ZONE:
            return _of_type(type, [_ptr(name, instance) for instance in self.reverse[name]])
        if name == ZONE:
            return _of_type(type, [self.soa(), Record(ZONE, Type.NS, write_name(SERVER))])
        if name == SERVER:
            return _of_type(type, _addresses(SERVER, self.listener.addresses))
        if name[-3] != self.listener.tenant.encode():
            return NXDOMAIN
        return self._find_below(name, name[:-3], type)

    def soa(self) -> Record:
        """The zone's own record; its last field is how long "no" may be kept (RFC 2308 §5)."""
        numbers = struct.pack("!5I", self.serial & 0xFFFFFFFF, 60, 10, 3600, NEGATIVE_TTL)
        return Record(ZONE, Type.SOA, write_name(SERVER) + write_name((b"hostmaster", *ZONE)) + numbers, NEGATIVE_TTL)

    def _find_below(self, name: Name, labels: Name, type: int) -> Answer:
        match labels:
            case () | (b"_tcp",):
                return _any(type)
            case (service, b"_tcp") if service[:1] == b"_" and service[1:] in self.services:
                return self._srv(name, service[1:], type)
            case (service,) if service in self.services:
                if type == Type.SRV:
                    return self._srv(name, service, type)
                found = [item for item in self.services[service].values() if item.healthy]
                return _of_type(type, [record for item in found for record in _addresses(name, item.addresses)])
            case (id, service) if id in self.services.get(service, ()):
                instance = self.services[service][id]
                return _of_type(type, _addresses(name, instance.addresses) if instance.healthy else [])
        return NXDOMAIN

    def _srv(self, name: Name, service: bytes, type: int) -> Answer:
        if type != Type.SRV:
            return _any(type)
        healthy = [item for item in self.services[service].values() if item.healthy and item.port and item.addresses]
        answers = tuple(
            Record(name, Type.SRV, struct.pack("!3H", 0, 1, item.port) + write_name(host_name(item)))
            for item in healthy
        )
        additional = (record for item in healthy for record in _addresses(host_name(item), item.addresses))
        return Answer(answers=answers, additional=tuple(additional))


def host_name(instance: Instance) -> Name:
    """The name of one instance."""
    return (instance.id.encode(), instance.service.encode(), instance.tenant.encode(), *ZONE)


def reverse_name(address: Address) -> Name:
    """Where the PTR of an address is (RFC 1035 §3.5, RFC 3596 §2.5)."""
    return tuple(address.reverse_pointer.encode().split(b"."))


def _addresses(owner: Name, addresses: Sequence[Address]) -> list[Record]:
    return [
        Record(owner, Type.A if address.version == 4 else Type.AAAA, address.packed)
        for address in dict.fromkeys(addresses)
    ]


def _ptr(owner: Name, instance: Instance) -> Record:
    return Record(owner, Type.PTR, write_name(host_name(instance)))


def _of_type(type: int, records: Sequence[Record]) -> Answer:
    if type == Type.ANY:
        return _any(type)
    found = dict.fromkeys(record for record in records if record.type == type)
    return Answer(answers=tuple(found))


def _any(type: int) -> Answer:
    """A name that exists: nothing of other types, and for ANY the one record of RFC 8482 §4.2 (owner: the question)."""
    if type == Type.ANY:
        return Answer(answers=(Record((), Type.HINFO, b"\x07RFC8482\x00"),))
    return NODATA
