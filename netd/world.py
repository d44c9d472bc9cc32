"""The door to the kernel: what netd needs of it, and nothing more.

The real one is `drivers.world.World`; tests use one in memory that obeys the same laws. All calls block and come from
one thread. `apply` is idempotent: made twice is made once, and what is gone may be deleted.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from hawser.store.reconcile import Step

from .model import Address, Interface, Publish, Subnet
from .policy.flush import Connection
from .specs import PortSpec, RuleSpec, Spec


class Kernel(Protocol):
    """The links, namespaces and rules of one node; any call may raise NetError."""

    def observe(self) -> dict[str, Spec]:
        """Everything with this node's mark."""
        ...

    def apply(self, step: Step[Spec]) -> None:
        """Do one step, wholly or not at all."""
        ...

    def prepare(self, key: str, spec: PortSpec) -> None:
        """Make a port's link without its addresses, marked as not complete: `apply` completes it, a plan removes it."""
        ...

    def add_rules(self, rules: Sequence[RuleSpec]) -> None:
        """Add elements of one tenant's tables in one transaction."""
        ...

    def revise(self, tenant: str, stale: Callable[[Sequence[Connection]], Collection[Connection]]) -> int:
        """Cut those of a tenant's connections that are `stale`, and no others; returns how many."""
        ...

    def datapath(self) -> str:
        """Open vSwitch's datapath here: `system`, the kernel's, `netdev`, in user space, or "" without Open vSwitch."""
        ...

    def at_switch(self, switch: str, act: Callable[[], None]) -> None:
        """Do something in the namespace at `switch`, "" the host's. NotFound."""
        ...

    def join_switch(self, ifname: str, addresses: Sequence[Interface], gateways: Sequence[Address], mtu: int) -> None:
        """Give the way out of the switch's namespace addresses and default routes; can be done twice. NotFound: the
        switch has not made it."""
        ...

    def uplink_mtu(self, address: Address | None = None) -> int:
        """The MTU of the link with this address, else of that with the default route; 1500 without one."""
        ...

    def used_subnets(self) -> list[Subnet]:
        """Subnets and addresses the host has routes to, defaults left out."""
        ...

    def check_free(self, publish: Publish) -> None:
        """Conflict when a process of the host listens on the port; Invalid when the address is not the host's."""
        ...

    def close(self) -> None:
        """Let go; nothing is removed."""
        ...
