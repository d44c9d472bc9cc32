"""Rounds: everything wanted is compared with everything there, and made so; what fails is kept with its reason.

A failed step fails its key and what needs it; both are tried again with backoff. A port that goes gives its addresses
back in the round that finds nothing left of it. Time and jitter are arguments.
"""

import contextlib
from collections.abc import Mapping, Sequence

from hawser.store import StoreError
from hawser.store.reconcile import Step, Verb

from . import compile as compiler
from . import rounds, specs
from .errors import NetError
from .shared import Shared
from .site import has_plane, no_plane
from .specs import Spec, TenantSpec

ALL = "netd:"
THOROUGH = 25.0
LINKS = ("switch:", "gateway:", "port:")


class Repair:
    """The rounds of one node; one call at a time."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._looked = -THOROUGH

    async def plan(self) -> tuple[Step[Spec], ...]:
        """What a round would do now."""
        shared = self._shared
        await shared.intent.load()
        shared.claims.remember(shared.intent.fabric.ports.values())
        shared.mtu, shared.underlay_mtu, shared.datapath, observed = await shared.hands.do(
            lambda kernel: (
                *(kernel.uplink_mtu(), kernel.uplink_mtu(shared.underlay)),
                *(shared.datapath or kernel.datapath(), kernel.observe()),
            )
        )
        shared.standing = dict(observed)
        return shared.intent.steps(shared.intent.desired(shared.site), observed)

    async def round(self, now: float, jitter: float, *, due_only: bool = False) -> rounds.Round:
        """Do what can be done, or only what is due; `now` in seconds, `jitter` in [0, 1]."""
        shared = self._shared
        steps = await self.plan()
        late = {step.key for step in steps if due_only and not shared.retries.due(step.key, now)}
        outcome = await shared.hands.do(lambda kernel: rounds.run(steps, kernel.apply, late))
        shared.done(outcome.done)
        failures = {key: str(error) for key, error in outcome.failures.items()} | shared.intent.unreadable
        failures |= await self._switch(now, outcome.done, thorough=not due_only)
        done = {step.key for step in outcome.done}
        left = len(shared.intent.ports)
        failures |= await self._release_gone({step.key for step in steps} - done)
        if len(shared.intent.ports) < left:  # with its last port here a network goes, too
            with contextlib.suppress(NetError):
                await shared.shed()
        failures |= await shared.settle(spec.name for spec in shared.standing.values() if isinstance(spec, TenantSpec))
        for status in shared.retries.statuses():
            if status.key not in late and status.key not in failures:
                shared.retries.succeeded(status.key)
        for key, reason in failures.items():
            shared.retries.failed(key, reason, now, jitter=jitter)
        return outcome

    async def _switch(self, now: float, done: Sequence[Step[Spec]], *, thorough: bool) -> Mapping[str, str]:
        """Bring the switch to the fabric; now and then, and when asked, by looking at what is there."""
        shared = self._shared
        fabric, site = shared.intent.fabric, shared.site
        thorough = thorough or now - self._looked >= THOROUGH
        remade = {step.key for step in done if step.verb is not Verb.DELETE and step.key.startswith(LINKS)}
        failures = dict(await shared.switch.follow(fabric, site, thorough=thorough, remade=remade))
        if remade:  # the switch may have let go of the old ones after the new ones were up
            shared.wake()
        if thorough:
            self._looked = now
        return failures | {
            f"network:{key}": no_plane(fabric.networks[key])
            for key in fabric.present(shared.machine)
            if not has_plane(site, fabric.networks[key])
        }

    def failed(self, error: Exception, now: float, jitter: float) -> None:
        """Nothing could be seen: the next round will tell."""
        self._shared.retries.failed(ALL, str(error), now, jitter=jitter)

    async def teardown(self, *, alone: bool) -> None:
        """Remove everything of this node from the kernel, and from the store what is its own; all there is when no
        other machine is there (`alone`). NetError when something stays."""
        shared = self._shared
        await shared.intent.forget_everything(alone=alone)
        shared.claims.remember(())
        shared.standing = await shared.hands.do(lambda kernel: kernel.observe())
        steps = specs.steps({}, shared.standing)
        outcome = await shared.hands.do(lambda kernel: rounds.run(steps, kernel.apply))
        shared.done(outcome.done)
        await shared.switch.leave(shared.site)
        for key, error in outcome.failures.items():
            shared.wake()
            raise NetError(f"cannot remove {key}: {error}") from error

    async def _release_gone(self, pending: set[str]) -> dict[str, str]:
        """Give back what ports hold that are no longer wanted and no longer there; says what failed."""
        shared = self._shared
        failures: dict[str, str] = {}
        if shared.intent.unreadable:  # nothing was removed
            return failures
        for port in [port for port in shared.intent.ports.values() if shared.intent.leaving(port)]:
            if compiler.port_keys(shared.site, port) & pending:
                continue
            try:
                await shared.claims.release(port)
                shared.intent.fabric.drop_port(port.key)
            except (NetError, StoreError) as error:
                failures[f"port:{port.id}"] = str(error)
        return failures
