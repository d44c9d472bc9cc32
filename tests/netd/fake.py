"""A kernel in memory that obeys the laws of the real one (test_world.py holds both to them)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hawser.netd.errors import Conflict, Exists, NotFound
from hawser.netd.model import Address, Interface, Publish, Subnet
from hawser.netd.qos.specs import QosSpec
from hawser.netd.specs import BridgeSpec, PortSpec, RuleSpec, SandboxSpec, Spec, TableSpec, TenantSpec
from hawser.store.reconcile import Step, Verb


class FakeWorld:
    """`things` is what is there; `refuse` holds keys whose steps fail."""

    def __init__(self, instance: str, rundir: Path) -> None:
        self.things: dict[str, Spec] = {}
        self.refuse: set[str] = set()
        self.taken: set[int] = set()

    def observe(self) -> dict[str, Spec]:
        return dict(self.things)

    def apply(self, step: Step[Spec]) -> None:
        if step.key in self.refuse and (step.verb is not Verb.DELETE or step.key in self.things):
            raise Conflict(f"{step.key}: refused")
        if step.verb is Verb.DELETE:
            self._delete(step.key, step.spec)
        else:
            self._make(step)

    def _delete(self, key: str, spec: Spec) -> None:
        for each in (key, f"new:{key}"):
            self.things.pop(each, None)
        if isinstance(spec, TableSpec):
            self._drop(lambda key, one: isinstance(one, RuleSpec) and one.tenant == spec.tenant)
        if isinstance(spec, TenantSpec):
            self._drop(lambda key, one: getattr(one, "tenant", "") == spec.name)
        if isinstance(spec, SandboxSpec):
            self._drop(lambda key, one: isinstance(one, PortSpec) and one.netns == spec.path and key not in self.refuse)

    def _drop(self, gone) -> None:  # type: ignore[no-untyped-def]
        self.things = {key: one for key, one in self.things.items() if not gone(key, one)}

    def _make(self, step: Step[Spec]) -> None:
        spec = step.spec
        if isinstance(spec, RuleSpec):
            if f"table:{spec.tenant}" not in self.things:
                raise NotFound("no table")
            here = self.things.get(step.key)
            if step.verb is Verb.CREATE and here is not None and here != spec:
                raise Exists(f"{step.key} has another value")
        if isinstance(spec, PortSpec):
            if not any(isinstance(one, BridgeSpec) and one.ifname == spec.bridge for one in self.things.values()):
                raise NotFound(f"no bridge {spec.bridge}")
            if not any(one == SandboxSpec(path=spec.netns) for one in self.things.values()):
                raise NotFound(f"no sandbox {spec.netns}")
        if isinstance(spec, QosSpec):
            links = {one.ifname for one in self.things.values() if isinstance(one, PortSpec)}
            if missing := {spec.ifname, *(mirror.to for mirror in spec.mirrors)} - links:
                raise NotFound(f"{step.key}: link {missing}: no such device")
        if isinstance(spec, TableSpec):
            self._drop(lambda key, one: isinstance(one, RuleSpec) and one.tenant == spec.tenant)
            found = [RuleSpec(tenant=spec.tenant, set=s, element=e, value=v) for s, e, v in spec.elements]
            self.things |= {f"rule:{one.tenant}:{one.set}:{one.element}": one for one in found}
        tenant = getattr(spec, "tenant", "")
        if tenant and f"tenant:{tenant}" not in self.things:
            raise NotFound(f"tenant {tenant} has no namespace here")
        self.things.pop(f"new:{step.key}", None)
        if isinstance(spec, BridgeSpec | PortSpec) and step.verb is Verb.CREATE and step.key in self.things:
            raise Exists(f"{step.key} exists")
        self.things[step.key] = spec

    def prepare(self, key: str, spec: PortSpec) -> None:
        self._make(Step(verb=Verb.CREATE, key=f"new:{key}", reason="", spec=spec))

    def add_rules(self, rules: Sequence[RuleSpec]) -> None:
        for rule in rules:
            key = f"rule:{rule.tenant}:{rule.set}:{rule.element}"
            self._make(Step(verb=Verb.CREATE, key=key, reason="", spec=rule))

    def datapath(self) -> str:
        return ""

    def at_switch(self, switch: str, act: Callable[[], None]) -> None:
        act()

    def join_switch(self, ifname: str, addresses: Sequence[Interface], gateways: Sequence[Address], mtu: int) -> None:
        return

    def uplink_mtu(self, address: Address | None = None) -> int:
        return 1500

    def used_subnets(self) -> list[Subnet]:
        return []

    def check_free(self, publish: Publish) -> None:
        if publish.host_port in self.taken:
            raise Conflict(f"cannot publish {publish}: Address already in use; a process of this host has the port")

    def close(self) -> None:
        return
