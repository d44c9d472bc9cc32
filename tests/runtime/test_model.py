"""A spec that cannot run is refused with every reason at once."""

import pytest

from hawser.runtime.errors import Invalid
from hawser.runtime.model import ContainerSpec, Limits, Mount, check


def test_a_plain_spec_passes() -> None:
    check(ContainerSpec(id="web-1", image="box", argv=("true",)))


def test_a_host_process_needs_no_image() -> None:
    check(ContainerSpec(id="unit.service", image=None, argv=("true",)))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"id": "../up"}, "id '../up'"),
        ({"id": ""}, "id ''"),
        ({"id": "."}, "id '.'"),
        ({"id": "a\n"}, "id 'a\\n'"),
        ({"id": "a" * 64}, "1-63"),
        ({"argv": ()}, "no command"),
        ({"argv": ("a\0b",)}, "NUL byte"),
        ({"argv": ("x" * (129 << 10),)}, "at most 131072"),
        ({"env": {"A=B": "c"}}, "variable's name"),
        ({"hostname": "h" * 65}, "the kernel takes 64"),
        ({"cwd": "tmp"}, "not absolute"),
        ({"user": ""}, "user ''"),
        ({"user": "a:b:c"}, "user 'a:b:c'"),
        ({"mounts": (Mount(source="/etc", target="etc"),)}, "'etc' is not absolute"),
        ({"mounts": (Mount(source="/etc", target="/a/../b"),)}, "climbs"),
        ({"mounts": (Mount(source="/etc", target="/"),)}, "is the root"),
        ({"mounts": (Mount(source="etc", target="/a"),)}, "source 'etc' is not absolute"),
        ({"image": None, "hostname": "h"}, "need an image"),
        ({"limits": Limits(cpu=0.001)}, "at least 0.01 cores"),
        ({"limits": Limits(memory=4096)}, "at least 4 MiB"),
        ({"limits": Limits(pids=0)}, "at least 1"),
    ],
)
def test_what_cannot_run_is_refused(fields: dict[str, object], word: str) -> None:
    good: dict[str, object] = {"id": "a", "image": "box", "argv": ("true",)}
    with pytest.raises(Invalid) as caught:
        check(ContainerSpec(**{**good, **fields}))  # type: ignore[arg-type]
    assert word in str(caught.value)


def test_every_problem_is_named() -> None:
    with pytest.raises(Invalid, match=r"no command.*not absolute.*at least 1"):
        check(ContainerSpec(id="a", image="box", argv=(), cwd="x", limits=Limits(pids=0)))
