"""A certificate is replaced before it ends, whole, and however often it takes."""

import asyncio
import time
from pathlib import Path

from hawser.store import Unavailable
from hawser.store.background import background
from hawser.store.cluster import certificates, pem
from hawser.store.cluster.certificates import DAY, LIFE
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.joining import RenewAnswer, RenewRequest
from hawser.store.cluster.rotation import Rotation

from .test_joining import Gate, identify


async def test_a_certificate_is_replaced_when_it_is_due(rundir: Path) -> None:
    gate, home = Gate(rundir), Home(rundir / "m2")
    identify(home, gate.authority, "m2", gate.bundle)
    first, refusals, told = home.identity(), [True, False], asyncio.Event()

    async def renew(request: RenewRequest) -> RenewAnswer:
        if refusals.pop(0):
            raise Unavailable("not now")
        return gate.keeper.renew(pem.split(first)[0], request)

    async def changed(answer: RenewAnswer) -> None:
        assert answer.certificate.encode() in home.identity()
        told.set()

    def clock() -> float:
        return gate.now

    gate.now = time.time() + 0.7 * LIFE
    rotation = Rotation(home, renew, changed, clock=clock, jitter=0.0, again=0.01)
    async with background(rotation.run()):
        async with asyncio.timeout(5):
            await told.wait()
    assert rotation.trouble == ""
    assert home.identity() != first
    assert certificates.verify(home.identity(), gate.bundle, now=gate.now + DAY).machine == "m2"
    assert certificates.rotation_time(home.identity(), 0.0) > gate.now + 4 * DAY


async def test_a_certificate_that_is_not_due_is_left_alone(rundir: Path) -> None:
    gate, home = Gate(rundir), Home(rundir / "m2")
    identify(home, gate.authority, "m2", gate.bundle)
    first = home.identity()

    async def never(*_: object) -> RenewAnswer:
        raise AssertionError

    async with background(Rotation(home, never, never, clock=lambda: gate.now, jitter=0.5).run()):  # type: ignore[arg-type]
        for _ in range(3):
            await asyncio.sleep(0)
    assert home.identity() == first
