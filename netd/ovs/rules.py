"""A tenant's policies made ready for flows: which selectors there are, what a port is to them, and the rules' numbers.

What matters of a port to policies is the set of selectors that select it, its *identity*. Addresses are mapped to
identities once, and rules speak of identities: one more port is one more address of an identity, whatever its other
labels are. A rule's number is the low half of its conjunction's id, made from its name, so that other policies do not
renumber it (but for rare clashes, which go by name).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import Invalid
from ..fabric import Fabric
from ..model import Direction, Policy, Port, Rule, Selector
from ..policy import match as words

SelectorKey = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
# the selectors that select a port, sorted
Identity = tuple[SelectorKey, ...]
NUMBERS = 0xFFFF


@dataclass(frozen=True, slots=True)
class Numbered:
    """A rule that some packet can obey, with its number of the tenant's (1 to 65535)."""

    number: int
    policy: Policy
    index: int
    rule: Rule

    @property
    def key(self) -> str:
        """`tenant/policy/index`, its name for counters."""
        return f"{self.policy.key}/{self.index}"


@dataclass(slots=True)
class TenantPolicies:
    """One tenant's policies; `rules` by number."""

    tenant: str
    policies: tuple[Policy, ...] = ()
    rules: tuple[Numbered, ...] = ()
    selectors: dict[SelectorKey, Selector] = field(default_factory=dict)

    @classmethod
    def of(cls, fabric: Fabric, tenant: str) -> "TenantPolicies":
        """Of a fabric as it is now. Invalid: more rules than there are numbers."""
        policies = words.of_tenant(fabric, tenant)
        made = cls(tenant, policies, tuple(_number(tenant, policies)))
        for policy in policies:
            made._add(policy.applies)
        for numbered in made.rules:
            for peer in numbered.rule.peers:
                if peer.ports is not None:
                    made._add(peer.ports)
        return made

    def _add(self, selector: Selector) -> None:
        self.selectors[selector_key(selector)] = selector

    def identity(self, port: Port) -> Identity:
        """What a port is to the policies; empty when no selector selects it."""
        return tuple(sorted(key for key, selector in self.selectors.items() if words.selects(selector, port)))

    def selecting(self, port: Port, direction: Direction) -> bool:
        """Whether any policy selects a port in a direction."""
        return next(words.selecting(self.policies, port, direction), None) is not None


def selector_key(selector: Selector) -> SelectorKey:
    """Equal for selectors that select the same."""
    return tuple(sorted(set(selector.networks))), tuple(sorted(selector.labels.items()))


def identity_number(tenant: str, identity: Identity) -> tuple[int, int]:
    """64 bits for a tenant's identity, in two registers; (0, 0) is that of nobody."""
    digest = hashlib.sha256(repr((tenant, identity)).encode()).digest()
    return int.from_bytes(digest[:4], "big") or 1, int.from_bytes(digest[4:8], "big") or 1


def _number(tenant: str, policies: tuple[Policy, ...]) -> Iterator[Numbered]:
    taken: set[int] = set()
    for policy in policies:
        for direction in Direction:
            for index, rule in words.rules(policy, direction):
                if not words.possible(rule):
                    continue
                if len(taken) == NUMBERS:
                    raise Invalid(f"tenant {tenant}: more than {NUMBERS} rules of policies; write fewer")
                name = f"{policy.name}/{index}".encode()
                number = int.from_bytes(hashlib.sha256(name).digest()[:4], "big") % NUMBERS + 1
                while number in taken:
                    number = number % NUMBERS + 1
                taken.add(number)
                yield Numbered(number, policy, index, rule)
