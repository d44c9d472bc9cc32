"""What times a lease may have: a fraction of a second here, whole ones from 2 on when etcd's minimum is asked for."""

import pytest

from hawser.store import Invalid
from hawser.store.embedded.engine import Engine


@pytest.mark.parametrize(("asked", "granted"), [(0, 2), (-1, 2), (1, 2), (2, 2), (3, 3)])
async def test_a_minimum_raises_whatever_is_below(engine: Engine, asked: float, granted: float) -> None:
    assert (await engine.lease_grant(asked, minimum=2)).ttl == granted


async def test_a_minimum_does_not_allow_too_much(engine: Engine) -> None:
    with pytest.raises(Invalid, match="ttl"):
        await engine.lease_grant(9_000_000_001, minimum=2)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e10])
async def test_a_time_that_makes_no_sense_is_refused(engine: Engine, ttl: float) -> None:
    with pytest.raises(Invalid, match="ttl"):
        await engine.lease_grant(ttl)
