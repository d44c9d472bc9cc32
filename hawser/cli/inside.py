"""`hawser net attach --exec`: this process itself becomes the program, in a namespace of its own.

It moves into a new network namespace and a mount namespace whose /etc/resolv.conf is the network's, asks the node to
attach it, and executes the program: no process stands between the program and who started it, so signals, the terminal
and the exit code are the program's own, and killing it kills the program. The node sees its end by the kernel.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from hawser.netd.drivers.tune import prepare_sandbox
from hawser.netd.errors import NetError
from hawser.runtime.drivers import syscalls

from ..faults import Fault

RESOLV_CONF = "/etc/resolv.conf"
SCRATCH = "/tmp"
MS_SLAVE = 1 << 19


def become(argv: Sequence[str], attach: Callable[[], Mapping[str, Any]]) -> NoReturn:
    """Attach a new namespace by `attach`, then execute a program in it. Fault, with the codes of a shell (126, 127)
    when the program cannot be executed."""
    program = _program(argv[0])
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
        # what is mounted here stays here; what the host unmounts goes here, too
        syscalls.mount("none", "/", None, syscalls.MS_REC | MS_SLAVE)
        prepare_sandbox()
    except PermissionError:
        raise Fault("a network namespace needs root; run as root", "denied") from None
    except (OSError, NetError) as error:
        raise Fault(f"cannot make a network namespace: {error}") from error
    resolve_by(attach()["resolv_conf"])
    _execute(program, argv)


def _program(name: str) -> str:
    """The path of a program. Fault before anything is made for it."""
    found = shutil.which(name)
    if found is None and os.path.exists(name) and "/" in name:
        raise Fault(f"cannot execute {name}: permission denied; is it a program?", code=126)
    if found is None:
        raise Fault(f"command not found: {name}; give a path or a name on the PATH", code=127)
    return found


def resolve_by(text: str) -> None:
    """Have /etc/resolv.conf say this, for this mount namespace: a file of a file system without a name, so that nothing
    is left of it anywhere."""
    target = os.path.realpath(RESOLV_CONF)
    if not os.path.exists(target):
        print(f"hawser: no {RESOLV_CONF} on this machine: the network's names are not found by it", file=sys.stderr)
        return
    try:
        syscalls.mount("tmpfs", SCRATCH, "tmpfs", syscalls.MS_NODEV | syscalls.MS_NOSUID, "size=64k,mode=0755")
        with open(f"{SCRATCH}/resolv.conf", "w") as file:
            file.write(text)
        syscalls.mount(f"{SCRATCH}/resolv.conf", target, None, syscalls.MS_BIND)
        syscalls.umount(SCRATCH, syscalls.MNT_DETACH)
    except OSError as error:
        raise Fault(f"cannot put the network's name servers at {target}: {error}") from error


def _execute(program: str, argv: Sequence[str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; programs expect them
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(program, list(argv))
    except OSError as error:
        words = f"cannot execute {program}: {error.strerror}; is it a program for this machine?"
        raise Fault(words, code=126) from None
