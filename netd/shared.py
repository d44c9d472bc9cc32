"""What the parts of the agent have in common: records, claims, the kernel, and what fails.

Intent first: what is to go is first no longer wanted, then removed from the kernel, and only then are its addresses
given back. Whatever is cut off in between, a plan shows it and a round finishes it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from hawser.store.reconcile import Retries

from . import rounds
from .claims import Claims
from .compile import Spec
from .intent import Intent
from .model import DEFAULT_MTU
from .world import Kernel

T = TypeVar("T")


class Hands(Protocol):
    """Where the kernel is worked on."""

    def do(self, act: Callable[[Kernel], T]) -> Awaitable[T]:
        """Begin `act` now, after what was begun before; await the result. NetError when not open."""
        ...


@dataclass(slots=True, kw_only=True)
class Shared:
    """One node's; `mtu` is the uplink's as last seen, `wake` has the loop look now."""

    instance: str
    rundir: Path
    ipv6: bool
    intent: Intent
    claims: Claims
    hands: Hands
    wake: Callable[[], None]
    retries: Retries = field(default_factory=Retries)
    mtu: int = DEFAULT_MTU

    async def remove(self, specs: Mapping[str, Spec]) -> None:
        """Remove these things, the last first, as far as they can be; raises the first failure, the rest is left to the
        rounds."""
        outcome = await self.hands.do(lambda kernel: rounds.run(rounds.removal(specs), kernel.apply))
        for error in outcome.failures.values():
            self.wake()
            raise error
