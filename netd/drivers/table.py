"""The nftables tables of one place, element by element; a UDP port that comes or goes takes its old connections with
it, and so does a floating address that comes to lead elsewhere."""

import contextlib
from collections.abc import Iterator
from ipaddress import ip_address

from hawser.store.reconcile import Verb

from .. import rules
from ..errors import NotFound
from ..host_rules import published_udp
from ..rules import Element
from ..specs import RuleSpec, Spec, TableSpec
from .place import Place

FLOATING = ("in4", "in6")


class Table:
    """The tables of the host (tenant "") or of a tenant."""

    def __init__(self, place: Place, instance: str, tenant: str) -> None:
        self._place = place
        self._instance = instance
        self._tenant = tenant

    def observe(self) -> dict[str, Spec]:
        """The tables and their elements; a part that is missing is no version."""
        found: dict[str, Spec] = {}
        versions = []
        for family in ("inet", "bridge") if self._tenant else ("inet",):
            objects = self._place.nft.table(rules.table(self._instance), family)
            version, elements = rules.observed(objects or ())
            versions.append(version)
            for name, element, value in elements:
                spec = RuleSpec(tenant=self._tenant, set=name, element=element, value=value)
                found[f"rule:{self._tenant}:{name}:{element}"] = spec
        if any(versions):
            version = versions[0] if len(set(versions)) == 1 else "half of it"
            found[f"table:{self._tenant}"] = TableSpec(tenant=self._tenant, version=version)
        return found

    def create(self, spec: TableSpec) -> None:
        """Make the tables anew with their elements; no moment without."""
        self._place.nft.run(rules.create(self._instance, spec.chains, spec.elements))

    def set(self, verb: Verb, spec: RuleSpec) -> None:
        """Add an element, or change its value."""
        element = (spec.set, spec.element, spec.value)
        commands = rules.add(self._instance, [element])
        if verb is Verb.UPDATE:
            commands = rules.remove(self._instance, [element]) + commands
        self._place.nft.run(commands)
        self._forget(spec)
        if verb is Verb.UPDATE:
            self._forget_floating(spec)

    def add(self, elements: list[Element]) -> None:
        """Add elements in one transaction."""
        self._place.nft.run(rules.add(self._instance, elements))

    def delete(self, spec: TableSpec | RuleSpec) -> None:
        """Remove the tables, or an element; nothing when it is not there."""
        with contextlib.suppress(NotFound):
            for commands in self._removal(spec):
                self._place.nft.run(commands)
        if isinstance(spec, RuleSpec):
            self._forget(spec)
            self._forget_floating(spec)

    def _removal(self, spec: TableSpec | RuleSpec) -> Iterator[str]:
        if isinstance(spec, RuleSpec):
            yield rules.remove(self._instance, [(spec.set, spec.element, spec.value)])
            return
        yield rules.delete(self._instance)
        if self._tenant:
            yield rules.delete(self._instance, "bridge")

    def _forget(self, spec: RuleSpec) -> None:
        if (port := published_udp(spec.set, spec.element)) is not None:
            self._place.conntrack.forget_udp(port)

    def _forget_floating(self, spec: RuleSpec) -> None:
        if spec.set in FLOATING:
            self._place.conntrack.forget_address(ip_address(spec.element))
