"""Labs beside Mininet: the same tree of 256 hosts and 17 bridges, up and down again.

Mininet runs in namespaces of its own, with its own /tmp and /run, since it cleans up by name pattern. Ours is timed
until the kernel has taken the last link away; both through the command line, ours through the Python API as well.
Needs the Debian packages mininet and bridge-utils for the peer; without them the peer is left out.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from hawser.labs import Lab, tree

from .row import Row

SHAPE = "tree,depth=2,fanout=16"
HAWSER = [sys.executable, "-c", "import sys; from hawser.main import main; sys.exit(main())", "lab"]
PEER = """
set -e
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
cd /tmp
exec mn --switch lxbr --controller none --topo "$0" --test none
"""
TIMES = 3
FACTOR = 10.0


def rows() -> list[Row]:
    """Seconds for up and down of 256 hosts, and for 65,280 pings."""
    with tempfile.TemporaryDirectory(prefix="hw-") as directory:
        run = Path(directory)
        ours = median(_timed(lambda: _api(run)) for _ in range(TIMES))
        command = median(_timed(lambda: _command(run)) for _ in range(TIMES))
        peer = _mininet()
        pings = _pings(run)
    need = f">= {FACTOR:g}x faster than mn"
    name = "mn --switch lxbr" if peer else "mn is not installed: apt-get install mininet bridge-utils"

    def row(what: str, seconds: float, note: str) -> Row:
        ok = peer is not None and seconds * FACTOR <= peer
        return Row(what=what, ours=seconds, unit="s", need=need, ok=ok, peer=peer, peer_name=name, note=note)

    return [
        row("lab of 256 hosts up and down, Python", ours, f"median of {TIMES}"),
        row("lab of 256 hosts up and down, command line", command, f"two processes; median of {TIMES}"),
        Row(what="pingall of 256 hosts", ours=pings, unit="s", need="65,280 pings, none lost", ok=pings > 0),
    ]


def _timed(act: Callable[[], object]) -> float:
    start = perf_counter()
    act()
    return perf_counter() - start


def _api(run: Path) -> None:
    with Lab(tree(depth=2, fanout=16), name="bench", run=run):
        pass


def _command(run: Path) -> None:
    for words in (["up", "--topo", SHAPE, "--name", "bench"], ["down", "bench"]):
        subprocess.run([*HAWSER, words[0], "--run", str(run), *words[1:]], check=True, stdout=subprocess.DEVNULL)


def _pings(run: Path) -> float:
    """Seconds; -1 when one was lost."""
    with Lab(tree(depth=2, fanout=16), name="bench", run=run) as lab:
        report = lab.pingall()
    return report.seconds if not report.lost else -1.0


def _mininet() -> float | None:
    """Mininet's seconds for the whole command, as ours are; None when it is not installed."""
    if not shutil.which("mn") or not shutil.which("brctl"):
        return None
    argv = ["unshare", "-nmpf", "--mount-proc", "sh", "-c", PEER, SHAPE]
    start = perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    seconds = perf_counter() - start
    if done.returncode != 0 or not re.search(r"completed in [0-9.]+ seconds", done.stderr + done.stdout):
        raise RuntimeError(f"mn failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return seconds
