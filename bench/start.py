"""How long a container takes to its first instruction: ours, and `crun run` on the same root, taking turns.

Measured from the request (ours: the call of `create`, then `start`, on a running node; crun: its spawn) until the
program, a busybox shell, writes into a FIFO that is bind-mounted into the container. Both get a prepared network
namespace, the same user map, namespaces, mounts, masks, capabilities and limits of memory, CPU and processes. Runs in
a process and mount namespace of its own, where the empty version-2 hierarchy is unmounted, which crun refuses to run
beside version 1.

Two rows, for moving a process into a cgroup waits for a grace period of RCU unless somebody has just done so: with the
machine at rest before every start, and one after another, where each follows one of its own kind.
"""

import asyncio
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from hawser.runtime.agent import Runtime
from hawser.runtime.drivers import rootfs
from hawser.runtime.drivers.launch import PATH
from hawser.runtime.images import Images
from hawser.runtime.model import ContainerSpec, Limits, Mount

from .row import Row

RUNS = 60
WARM = 5
REST = 0.05
MODES = {"rest": "machine at rest", "row": "one after another"}
BUSYBOX = "/bin/busybox"
COMMAND = ("/bin/sh", "-c", "echo > /signal")
MEMORY, PIDS, CPU = 256 << 20, 100, 1.0
INSIDE = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'


def rows() -> list[Row]:
    """The row, measured in a child."""
    command = ["unshare", "--mount", "--net", "sh", "-c", INSIDE, "sh", sys.executable, "-m", "bench.start"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures = json.loads(answer.stdout)
    return [_row(words, figures[name]) for name, words in MODES.items()]


def _row(words: str, figures: dict[str, list[float]]) -> Row:
    ours, peer, start = (statistics.median(figures[name]) for name in ("ours", "crun", "start"))
    note = (
        f"p50 of {RUNS} each, taking turns; create+start to the program's write into a FIFO; of ours, start alone "
        f"{start:.1f} ms; ours mounts an overlay on top, crun gets the plain directory"
    )
    return Row(
        what=f"container start to first instruction, {words}",
        ours=ours,
        unit="ms",
        need="no slower than crun run on the same bundle",
        ok=ours <= peer,
        peer=peer,
        peer_name="crun run",
        note=note,
    )


def busybox_tar() -> BytesIO:
    """A root file system of busybox alone."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(os.path.realpath(BUSYBOX), "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
        signal = tarfile.TarInfo("signal")
        tar.addfile(signal)
    buffer.seek(0)
    return buffer


def bundle(place: Path, root: Path, fifo: Path, netns: str) -> None:
    """The same container as a bundle of the OCI runtime specification."""
    caps = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE"]
    caps = [f"CAP_{name}" for name in (*caps, "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP")]
    safe = ["nosuid", "noexec", "nodev"]
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": safe},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*safe, "mode=1777", "size=64m"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, "ro"]},
        {"destination": "/signal", "type": "none", "source": str(fifo), "options": ["bind", "nosuid", "nodev"]},
    ]
    ids = [{"containerID": 0, "hostID": 100_000, "size": 65536}]
    kinds = ("pid", "ipc", "uts", "mount", "user", "cgroup")
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(COMMAND),
            "env": [f"PATH={PATH}", "HOME=/"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), caps),
            "noNewPrivileges": True,
        },
        "root": {"path": str(root)},
        "hostname": "bench",
        "mounts": mounts,
        "linux": {
            "uidMappings": ids,
            "gidMappings": ids,
            "namespaces": [*({"type": kind} for kind in kinds), {"type": "network", "path": netns}],
            "resources": {
                "memory": {"limit": MEMORY, "swap": MEMORY},
                "pids": {"limit": PIDS},
                "cpu": {"period": 100_000, "quota": int(CPU * 100_000)},
            },
            "maskedPaths": list(rootfs.MASKED),
            "readonlyPaths": list(rootfs.READ_ONLY),
        },
    }
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))


def crun_once(work: Path, signal: int) -> float:
    """Milliseconds from the spawn of `crun run` to the program's first byte."""
    name = f"hawser-bench-{uuid.uuid4().hex[:8]}"
    command = ["crun", "--root", str(work / "crun"), "run", "--bundle", str(work / "bundle"), name]
    begin = time.perf_counter()
    pid = os.posix_spawnp("crun", command, os.environ)
    os.read(signal, 1)
    spent = time.perf_counter() - begin
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"crun run ended with {os.waitstatus_to_exitcode(status)}")
    return spent * 1000


async def measure(work: Path, netns: str) -> dict[str, dict[str, list[float]]]:
    """Both, taking turns, by mode."""
    images = Images(work / "images")
    image = images.import_tar(busybox_tar(), "bench")
    os.chmod(images.root, 0o755)  # crun reads the directory as the container's root
    fifo = work / "signal"
    os.mkfifo(fifo, 0o666)
    fifo.chmod(0o666)
    signal = os.open(fifo, os.O_RDWR)
    bundle(work / "bundle", images.layer_path(image), fifo, netns)
    runtime = Runtime(work / "data", work / "run", uuid.uuid4().hex[:8], images)
    await runtime.open()
    figures: dict[str, dict[str, list[float]]] = {}
    try:
        for mode in MODES:
            figures[mode] = {"ours": [], "start": [], "crun": []}
            for turn in range(WARM + RUNS):
                name = f"{mode}-{turn}"
                ours, start = await _twice(mode, functools.partial(_ours, runtime, fifo, signal, netns, name))
                peer = (await _twice(mode, lambda again: _peer(work, signal)))[0]
                if turn >= WARM:
                    for key, value in (("ours", ours), ("start", start), ("crun", peer)):
                        figures[mode][key].append(value)
    finally:
        await runtime.teardown()
        os.close(signal)
    return figures


async def _twice(mode: str, once: Callable[[str], Awaitable[tuple[float, float]]]) -> tuple[float, float]:
    """After a rest, or right after one of the same kind."""
    if mode == "rest":
        await asyncio.sleep(REST)
    else:
        await once("-first")
    return await once("")


async def _peer(work: Path, signal: int) -> tuple[float, float]:
    return crun_once(work, signal), 0.0


async def _ours(runtime: Runtime, fifo: Path, signal: int, netns: str, name: str, suffix: str) -> tuple[float, float]:
    """Milliseconds from `create`, and from `start`, to the program's first byte."""
    limits = Limits(memory=MEMORY, pids=PIDS, cpu=CPU)
    mount = Mount(source=str(fifo), target="/signal")
    spec = ContainerSpec(id=name + suffix, image="bench", argv=COMMAND, netns=netns, limits=limits, mounts=(mount,))
    begin = time.perf_counter()
    await runtime.create(spec)
    created = time.perf_counter()
    await runtime.start(spec.id)
    os.read(signal, 1)
    end = time.perf_counter()
    await runtime.wait(spec.id)
    await runtime.remove(spec.id)
    return (end - begin) * 1000, (end - created) * 1000


def main() -> None:
    """In a mount namespace of its own: print the figures as JSON."""
    work = Path(tempfile.mkdtemp(prefix="hawser-bench-"))
    work.chmod(0o755)
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.read(1)
        print(json.dumps(asyncio.run(measure(work, f"/proc/{holder.pid}/ns/net"))))
    finally:
        holder.kill()
        holder.wait()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
