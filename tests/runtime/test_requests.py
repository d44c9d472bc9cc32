"""What the launcher's refusals mean to a caller."""

import errno
import os
from pathlib import PurePath

import pytest

from hawser.runtime import requests
from hawser.runtime.drivers.rootfs import escape
from hawser.runtime.drivers.zygote import RECEIVE
from hawser.runtime.errors import Invalid, NotRunnable, RuntimeFault, Unavailable
from hawser.runtime.model import ContainerSpec, Mount

SPEC = ContainerSpec(id="c1", name="web", image="box", argv=("nginx",), dns="nameserver 10.0.0.1\n")


def refusal(number: int, step: str, what: str = "x") -> RuntimeFault:
    return requests.fault(SPEC, {"errno": number, "step": step, "text": os.strerror(number), "what": what})


@pytest.mark.parametrize(("number", "code"), [(errno.ENOENT, 127), (errno.EACCES, 126), (errno.ENOEXEC, 126)])
def test_a_program_that_cannot_run_has_the_shells_code(number: int, code: int) -> None:
    fault = refusal(number, "exec", "nginx")
    assert isinstance(fault, NotRunnable)
    assert (fault.exit_code, fault.kind) == (code, "usage")
    assert "nginx" in str(fault)


@pytest.mark.parametrize(
    ("number", "step", "kind", "word"),
    [
        (errno.ENODEV, "overlay", Unavailable, "no overlayfs"),
        (errno.EINVAL, "overlay", Unavailable, "must support upper layers"),
        (errno.ENOSPC, "root", Unavailable, "free some space"),
        (errno.EAGAIN, "launch", Unavailable, "try again"),
        (errno.ENOENT, "netns", Invalid, "network namespace"),
        (errno.ENOENT, "bind", Invalid, "mount: No such file"),
        (errno.ENOTDIR, "root", Invalid, "the image's root"),
        (errno.EIO, "namespaces", RuntimeFault, "namespaces: Input/output error"),
    ],
)
def test_every_refusal_says_what_and_why(number: int, step: str, kind: type[RuntimeFault], word: str) -> None:
    fault = refusal(number, step)
    assert type(fault) is kind
    assert str(fault).startswith("container web: ")
    assert word in str(fault)
    assert "\n" not in str(fault)


def test_the_nodes_files_are_mounted_before_the_callers() -> None:
    spec = ContainerSpec(id="c1", image="box", argv=("true",), dns="", mounts=(Mount(source="/srv", target="/srv"),))
    request = requests.start(spec, PurePath("/d/c1"), PurePath("/l"), [], boot="b", base=100_000)
    assert request["binds"] == [("/d/c1/resolv.conf", "/etc/resolv.conf", False), ("/srv", "/srv", False)]
    assert (request["hostname"], request["uid_base"], request["uid_range"]) == ("c1", 100_000, 65536)


def test_a_request_is_bounded_with_all_that_is_in_it() -> None:
    mounts = tuple(Mount(source=f"/srv/{'x' * 200}/{number}", target=f"/srv/{number}") for number in range(1000))
    spec = ContainerSpec(id="c1", image="box", argv=("true",), mounts=mounts)
    request = requests.start(spec, PurePath("/d/c1"), PurePath("/l"), [], boot="b", base=100_000)
    with pytest.raises(Invalid, match=r"mounts make a request of \d+ bytes; at most 196608"):
        requests.encode(spec, request)
    assert requests.MESSAGE_MAX < RECEIVE


def test_a_host_process_keeps_the_machines_users() -> None:
    spec = ContainerSpec(id="c1", image=None, argv=("true",))
    request = requests.start(spec, PurePath("/d/c1"), None, [], boot="b", base=100_000)
    assert (request["host"], request["uid_base"]) == (True, 0)


def test_paths_in_overlay_options_are_escaped() -> None:
    assert escape("/a:b,c\\d") == "/a\\:b\\,c\\\\d"
