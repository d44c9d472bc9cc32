"""Rates, times and sizes as people write them."""

import pytest

from hawser.labs import units
from hawser.labs.errors import Invalid


def test_units() -> None:
    assert [units.rate(text) for text in ("9600", "500kbit", "1.5mbit", "1GBIT", 7)] == [
        9600,
        500_000,
        1_500_000,
        10**9,
        7,
    ]
    assert [units.seconds(text) for text in ("20ms", "1.5s", "300us", 0.25)] == pytest.approx([0.02, 1.5, 3e-4, 0.25])
    assert [units.percent(text) for text in ("1%", "0.5", 2)] == [1.0, 0.5, 2.0]
    assert [units.size(text) for text in ("512k", "8m", "1g", "10", 5)] == [512 << 10, 8 << 20, 1 << 30, 10, 5]


@pytest.mark.parametrize("text", ["", "fast", "-1mbit", "10 mbit", "1mbyte", "1e3", "mbit"])
def test_a_rate_that_is_none(text: str) -> None:
    with pytest.raises(Invalid, match="write it as 10mbit"):
        units.rate(text)


@pytest.mark.parametrize("text", ["", "20", "20 ms", "1h", "-1ms"])
def test_a_time_needs_its_unit(text: str) -> None:
    with pytest.raises(Invalid, match="write it as 20ms"):
        units.seconds(text)
