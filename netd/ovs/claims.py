"""Which object a flow belongs to, when objects come and go one at a time.

Two objects may claim a flow of one name for a while: a port that has moved, before its old record is gone. The object
that sorts first has it; when it lets go, the other's is there. So what is programmed depends on what there is, never on
the order in which it came.
"""

from collections.abc import Iterable, Iterator, Mapping

from .flow import Flow, Key

Object = tuple[str, ...]


class Claims:
    """Flows by name, and by object."""

    def __init__(self) -> None:
        self._flows: dict[Key, Flow] = {}
        self._owner: dict[Key, Object] = {}
        # what more than one object claims
        self._rivals: dict[Key, dict[Object, Flow]] = {}
        self._of: dict[Object, tuple[Flow, ...]] = {}

    @property
    def flows(self) -> Mapping[Key, Flow]:
        """Every flow that is to be there."""
        return self._flows

    def objects(self) -> Iterator[Object]:
        """Every object that claims something."""
        return iter(tuple(self._of))

    def of(self, claimant: Object) -> tuple[Flow, ...]:
        """What an object claims."""
        return self._of.get(claimant, ())

    def put(self, claimant: Object, flows: Iterable[Flow]) -> set[Key]:
        """These flows and no others are the object's; returns the names that may have changed."""
        before, after = self._of.get(claimant, ()), tuple(flows)
        if before == after:
            return set()
        wanted = {flow.key: flow for flow in after}
        touched = {flow.key for flow in before if flow.key not in wanted}
        for key in touched:
            self._drop(claimant, key)
        known = {flow.key: flow for flow in before}
        for key, flow in wanted.items():
            if known.get(key) != flow:
                self._add(claimant, key, flow)
                touched.add(key)
        if after:
            self._of[claimant] = after
        else:
            self._of.pop(claimant, None)
        return touched

    def _add(self, claimant: Object, key: Key, flow: Flow) -> None:
        owner = self._owner.get(key)
        if owner is not None and owner != claimant:
            rivals = self._rivals.setdefault(key, {owner: self._flows[key]})
            rivals[claimant] = flow
            self._settle(key, rivals)
            return
        if key in self._rivals:
            self._rivals[key][claimant] = flow
        self._owner[key], self._flows[key] = claimant, flow

    def _drop(self, claimant: Object, key: Key) -> None:
        rivals = self._rivals.get(key)
        if rivals is None:
            del self._owner[key], self._flows[key]
            return
        del rivals[claimant]
        self._settle(key, rivals)
        if len(rivals) == 1:
            del self._rivals[key]

    def _settle(self, key: Key, rivals: Mapping[Object, Flow]) -> None:
        self._owner[key] = first = min(rivals)
        self._flows[key] = rivals[first]
