"""What the launcher is asked for, and what its failures mean; pure."""

import errno
import marshal
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from .errors import Invalid, NotRunnable, RuntimeFault, Unavailable
from .model import ContainerSpec, command_problems

UID_RANGE = 65536
MESSAGE_MAX = 192 << 10  # bytes; the zygote's buffer has room for it
EVERY_UID = 0xFFFFFFFF
Group = tuple[str, list[tuple[str, str]]]
OUT_OF = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN)
PLACES = {
    "user": "user {what}: {text}",
    "cwd": "working directory {what}: {text}; give one that exists in the image",
    "netns": "network namespace: {text}: {what}",
    "bind": "mount: {text}: {what}",
    "root": "the image's root cannot be used: {text}: {what}",
    "cgroup": "the kernel refuses a limit: {text}: {what}",
}


def start(
    spec: ContainerSpec, place: PurePath, lower: PurePath | None, groups: Sequence[Group], *, boot: str, base: int
) -> dict[str, Any]:
    """The request to start a container whose files are in `place`."""
    files = [(place / name, target) for name, target, text in _texts(spec) if text is not None]
    binds = [(str(source), target, False) for source, target in files]
    binds += [(mount.source, mount.target, mount.read_only) for mount in spec.mounts]
    return {
        **process(spec, groups, base=base, env=spec.env),
        "verb": "start",
        "dir": str(place),
        "boot": boot,
        "argv": list(spec.argv),
        "cwd": spec.cwd,
        "user": spec.user,
        "hostname": spec.hostname or spec.name[:64] or spec.id,
        "netns": spec.netns,
        "host_network": spec.host_network,
        "read_only": spec.read_only,
        "lower": str(lower) if lower else "",
        "upper": str(place / "upper"),
        "work": str(place / "work"),
        "root": str(place / "root"),
        "binds": binds,
    }


def execute(
    spec: ContainerSpec,
    groups: Sequence[Group],
    argv: Sequence[str],
    *,
    base: int,
    env: Mapping[str, str],
    user: str | None,
    cwd: str | None,
    deadline: float | None,
) -> dict[str, Any]:
    """The request to run a command in a container; `deadline` is a time of the monotonic clock. Invalid."""
    who, where = user or spec.user, cwd or spec.cwd
    if problems := command_problems(argv, env, who, where):
        raise Invalid(f"exec in container {spec.name or spec.id}: " + "; ".join(problems))
    return {
        **process(spec, groups, base=base, env={**spec.env, **env}),
        "verb": "exec",
        "argv": list(argv),
        "user": who,
        "cwd": where,
        "netns": None,
        "deadline": deadline,
    }


def encode(spec: ContainerSpec, request: Mapping[str, Any]) -> bytes:
    """A request as it is sent. Invalid when it is longer than the launcher takes."""
    data = marshal.dumps(dict(request))
    if len(data) > MESSAGE_MAX:
        raise Invalid(
            f"container {spec.name or spec.id}: command, environment and mounts make a request of {len(data)} bytes; "
            f"at most {MESSAGE_MAX}; put long texts into a file"
        )
    return data


def process(spec: ContainerSpec, groups: Sequence[Group], *, base: int, env: Mapping[str, str]) -> dict[str, Any]:
    """What `start` and `exec` share."""
    host = spec.image is None
    return {
        "step": "launch",
        "host": host,
        "cgroups": [(directory, list(files)) for directory, files in groups],
        "uid_base": 0 if host else base,
        "uid_range": EVERY_UID if host else UID_RANGE,
        "env": dict(env),
    }


def _texts(spec: ContainerSpec) -> tuple[tuple[str, str, str | None], ...]:
    return (("resolv.conf", "/etc/resolv.conf", spec.dns), ("hosts", "/etc/hosts", spec.hosts))


def fault(spec: ContainerSpec, answer: Mapping[str, Any]) -> RuntimeFault:
    """The error that a refusal of the launcher stands for."""
    number, step, text, what = answer["errno"], answer["step"], answer["text"], answer["what"]
    who = f"container {spec.name or spec.id}"
    if step == "exec":
        return _not_runnable(who, number, text, what)
    if number in OUT_OF:
        return Unavailable(f"{who}: {step}: {text}: {what}; free some space or processes and try again")
    if step == "overlay":
        return Unavailable(f"{who}: {_overlay(number, text)}")
    if step in PLACES:
        words = PLACES[step].format(text=text, what=what)
        return Invalid(f"{who}: {words}") if number != errno.EPERM else RuntimeFault(f"{who}: {words}")
    return RuntimeFault(f"{who}: cannot start: {step}: {text}{f': {what}' if what else ''}")


def _not_runnable(who: str, number: int, text: str, what: str) -> NotRunnable:
    if number == errno.ENOENT:
        return NotRunnable(f"{who}: command not found: {what}; give a path or a name on the PATH", 127)
    return NotRunnable(f"{who}: cannot execute {what}: {text}; is it a program for this machine, and executable?", 126)


def _overlay(number: int, text: str) -> str:
    if number == errno.ENODEV:
        return "this kernel has no overlayfs; load it (modprobe overlay) or use a kernel that has it"
    return f"overlayfs refuses ({text}); the data directory's file system must support upper layers (ext4, xfs)"
