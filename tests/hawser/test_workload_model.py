"""What callers write for sizes, ports and volumes, and what they are told when they miswrite."""

import pytest

from hawser.faults import Fault
from hawser.runtime.model import Mount
from hawser.workloads.model import check_name, parse_size, parse_volume


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("64M", 64 << 20), ("1.5G", 3 << 29), ("2k", 2048), ("1GiB", 1 << 30), ("7MB", 7 << 20)],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1 2", "1e9", "one"])
def test_a_miswritten_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(Fault, match="size") as caught:
        parse_size(text)
    assert caught.value.exit_code == 2


def test_volumes() -> None:
    assert parse_volume("/a:/b") == Mount(source="/a", target="/b")
    assert parse_volume("/a:/b:ro") == Mount(source="/a", target="/b", read_only=True)


@pytest.mark.parametrize("text", ["/a", "a:/b", "/a:/b:rx", "/a:/b:ro:z", ""])
def test_a_miswritten_volume_is_a_usage_error(text: str) -> None:
    with pytest.raises(Fault, match="volume"):
        parse_volume(text)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "A", "x" * 64, "a\n", "ä"])
def test_names_that_would_confuse_are_refused(name: str) -> None:
    with pytest.raises(Fault, match="name"):
        check_name(name)
