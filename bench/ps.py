"""`hawser ps` with 100 containers, against the bare interpreter's start-up; and the idle node beside them.

One private stage (namespaces, directory, node) serves both figures.
"""

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from hawser.demo.stage import Stage

from .row import Row

CONTAINERS, RUNS = 100, 30
# longer than the 30 s between two unasked rounds of the agents
SECONDS = 40.0
MIB = 1 << 20


def rows() -> list[Row]:
    """Both figures."""
    stage = Stage()
    try:
        if not stage.start_node():
            raise RuntimeError(stage.log())
        _fill(stage)
        return [_ps(stage), *_idle(stage)]
    finally:
        stage.remove()


def _fill(stage: Stage) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tarball = Path(directory, "busybox.tar")
        with tarfile.open(tarball, "w") as tar:
            tar.add("/bin/busybox", "bin/busybox")
        with tarball.open("rb") as source:
            stage.client.upload("/v1/images", source, name="busybox")
    for number in range(CONTAINERS):
        body = {"image": "busybox", "name": f"c{number}", "argv": ["/bin/busybox", "sleep", "1000000"]}
        stage.client.post("/v1/containers", body)


def _ps(stage: Stage) -> Row:
    hawser = str(Path(sys.executable).parent / "hawser")
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(RUNS):
        output = _timed([hawser, "ps"], ours, {"HAWSER_SOCKET": str(stage.socket)})
        assert output.count(b"\n") == CONTAINERS + 1, output.decode()
        _timed([sys.executable, "-c", "pass"], bare, {})
    mine, floor = statistics.median(ours), statistics.median(bare)
    return Row(
        what=f"hawser ps, {CONTAINERS} containers",
        ours=mine,
        unit="ms",
        peer=floor,
        peer_name="python3 -c pass",
        need="under 4x",
        ok=mine < 4 * floor,
        note=f"median of {RUNS}",
    )


def _timed(command: list[str], times: list[float], env: dict[str, str]) -> bytes:
    begin = time.perf_counter()
    output = subprocess.run(command, env={"PATH": "/usr/bin:/bin", **env}, stdout=subprocess.PIPE, check=True).stdout
    times.append((time.perf_counter() - begin) * 1e3)
    return output


def _idle(stage: Stage) -> list[Row]:
    pid = stage.client.get("/v1/status")["pid"]
    time.sleep(2)
    before = _cpu(pid)
    time.sleep(SECONDS)
    share = (_cpu(pid) - before) / SECONDS * 100
    rss = _rss(pid)
    what = f"node process, idle, {CONTAINERS} containers"
    return [
        Row(what=f"{what}: RSS", ours=rss / MIB, unit="MiB", need="< 120 MB", ok=rss < 120e6),
        Row(what=f"{what}: CPU", ours=share, unit="%", need="< 1 %", ok=share < 1, note=f"over {SECONDS:g} s"),
    ]


def _cpu(pid: int) -> float:
    """Seconds of CPU, user and system, of all threads (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024
