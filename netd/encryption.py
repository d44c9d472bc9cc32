"""This machine's part in the encrypted overlay: when there is one, what the others are told of it, what is wrong.

The overlay is there as soon as the cluster has an encrypted network, on every machine that has WireGuard: the others
must know a machine's keys before its first tunnel, and a cluster without such networks has no processes, ports and
keepalives for nothing. It goes with the last one. The machine is announced with its keys (`endpoint`) only once
WireGuard works here; and a network that demands encryption is refused to a machine that cannot give it, unless the
network agrees to go without (`Network.insecure`).
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from . import model
from .drivers import netns
from .errors import NetError, Unavailable
from .model import Endpoint, Network
from .shared import Shared
from .wireguard.drivers.overlay import Report
from .wireguard.drivers.thread import OverlayThread

STEP, PATIENCE = 1.0, 5.0
log = logging.getLogger(__name__)


class Encryption:
    """One machine's; `told` is called when what the others are told has changed."""

    def __init__(
        self,
        shared: Shared,
        data: Path,
        told: Callable[[], None],
        thread: Callable[[str, str, Path, Path], OverlayThread],
    ) -> None:
        self._shared = shared
        self._told = told
        self._thread = thread(shared.machine, shared.instance, data, shared.rundir)
        self._own: Endpoint | None = None
        self._made: bool | None = None  # None: not known, an earlier process may have
        self._known: dict[str, Endpoint] = {}
        self._lacking: dict[str, float] = {}
        self._ended = False
        self.trouble: tuple[str, ...] = ()
        """What is wrong, a line each"""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where this machine takes tunnels, as the others are told; None when it is alone."""
        shared = self._shared
        if shared.underlay is None:
            return None
        return self._own or Endpoint(machine=shared.machine, address=shared.underlay, mtu=shared.underlay_mtu)

    async def run(self) -> None:
        """Keep it at the records and keys in time, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(STEP)

    async def step(self) -> None:
        """Bring it to what records and time ask for; what fails is in `trouble`, and tried again by the next step."""
        before, faults = (self._own, self.trouble), list[str]()
        try:
            if self._shared.underlay is not None and not self._ended:
                faults = await self._step(self._shared.underlay)
        except Unavailable as error:
            self._own = None
            faults = [f"network {network.key} demands encryption: {error}" for network in self._demanding()]
        except (NetError, OSError) as error:
            faults = [str(error)]
        self.trouble = (*faults, *self._unreached())
        if self.trouble != before[1]:
            for line in self.trouble:
                log.warning("%s", line)
        if self._own != before[0]:
            self._told()

    async def _step(self, underlay: model.Address) -> list[str]:
        shared = self._shared
        if not any(network.encrypted for network in shared.intent.networks.values()):
            if self._made is not False:
                await self._enter()
                await self._thread.remove()
                self._made, self._own = False, None
            return []
        await self._enter()
        self._made = True
        report: Report = await self._thread.step(underlay, shared.underlay_mtu, self._records(), time.time())
        self._own = report.own
        return [*report.failures, *report.problems]

    def _records(self) -> Iterable[Endpoint]:
        """The others' records; of one that cannot be read, what was known of it: its sessions go on."""
        intent = self._shared.intent
        unread = {key.removeprefix(model.ENDPOINTS) for key in intent.unreadable if key.startswith(model.ENDPOINTS)}
        kept = {machine: record for machine, record in self._known.items() if machine in unread}
        self._known = kept | intent.fabric.endpoints
        return self._known.values()

    async def _enter(self) -> None:
        if not self._thread.entered:
            await self._thread.enter(await self._shared.hands.do(lambda kernel: os.open(netns.SELF, os.O_RDONLY)))

    def _demanding(self) -> list[Network]:
        """The networks this machine has to do with that demand encryption."""
        fabric = self._shared.intent.fabric
        networks = (fabric.networks[key] for key in sorted(fabric.present(self._shared.machine)))
        return [network for network in networks if network.encrypted and not network.insecure]

    def _unreached(self) -> Iterable[str]:
        """Who is not reached on networks that are here, for want of encryption there, and not only since just now."""
        fabric, here, now = self._shared.intent.fabric, self._shared.machine, time.monotonic()
        bare = {machine for machine, each in fabric.endpoints.items() if each.inner is None} - {here}
        self._lacking = {machine: self._lacking.get(machine, now) for machine in bare}
        for network in self._demanding() if self._own else ():
            for machine in sorted(bare & {port.machine for port in fabric.on(network.key).values()}):
                if now - self._lacking[machine] >= PATIENCE:
                    yield f"network {network.key}: machine {machine} has no WireGuard; its ports are not reached"

    async def check(self, network: Network) -> None:
        """Unavailable when a network demands what this machine cannot give."""
        if self._shared.underlay is None or not network.encrypted or network.insecure or self._own is not None:
            return
        await self._enter()
        if reason := (await self._thread.found()).reason:
            consent = f"hawser net set -t {network.tenant} {network.name} --insecure"
            raise Unavailable(f"network {network.key} demands encryption: {reason}, or agree to go without: {consent}")

    async def remove(self) -> None:
        """End it here for good: interfaces, processes and keys. The others are not told; the caller does that."""
        self._ended = True
        if self._shared.underlay is not None:
            await self._enter()
            await self._thread.remove(keys_too=True)

    async def close(self) -> None:
        """Let go; everything keeps working."""
        await self._thread.close()
