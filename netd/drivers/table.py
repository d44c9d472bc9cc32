"""A node's nftables table, element by element; a UDP port that comes or goes takes its old connections with it."""

import contextlib

from hawser.store.reconcile import Verb

from .. import rules
from ..compile import RuleSpec, Spec, TableSpec
from ..errors import NotFound
from .conntrack import Conntrack
from .nft import Nft


class Table:
    """The table of the namespace of the thread that makes it."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._nft = Nft()
        self._conntrack = Conntrack()

    def close(self) -> None:
        """Let go; nothing is removed."""
        self._nft.close()
        self._conntrack.close()

    def observe(self) -> dict[str, Spec]:
        """The table and its elements."""
        objects = self._nft.table(rules.table(self._instance))
        if objects is None:
            return {}
        version, elements = rules.observed(objects)
        found: dict[str, Spec] = {"table:": TableSpec(version=version)}
        for name, element, value in elements:
            found[f"rule:{name}:{element}"] = RuleSpec(set=name, element=element, value=value)
        return found

    def create(self, spec: TableSpec) -> None:
        """Make the table anew with its elements; no moment without."""
        self._nft.run(rules.create(self._instance, spec.elements))

    def set(self, verb: Verb, spec: RuleSpec) -> None:
        """Add an element, or change its value."""
        element = (spec.set, spec.element, spec.value)
        commands = rules.add(self._instance, [element])
        if verb is Verb.UPDATE:
            commands = rules.remove(self._instance, [element]) + commands
        self._nft.run(commands)
        self._forget(spec)

    def delete(self, spec: TableSpec | RuleSpec) -> None:
        """Remove the table, or an element; nothing when it is not there."""
        if isinstance(spec, TableSpec):
            self._delete(rules.delete(self._instance))
        else:
            self._delete(rules.remove(self._instance, [(spec.set, spec.element, spec.value)]))
            self._forget(spec)

    def _forget(self, spec: RuleSpec) -> None:
        if (port := rules.published_udp(spec.set, spec.element)) is not None:
            self._conntrack.forget_udp(port)

    def _delete(self, commands: str) -> None:
        with contextlib.suppress(NotFound):
            self._nft.run(commands)
