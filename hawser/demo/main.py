"""The demo from start to end: images, stage, story, report."""

import functools
import hashlib
import os
import signal
import sys
from pathlib import Path

from hawser.netd.drivers import netns
from hawser.runtime.images import debian

from ..check import isolate
from ..faults import Fault
from .fleet import FleetStory
from .report import Report
from .stage import Stage
from .story import PACKAGES, Story

CACHE = Path("/var/cache/hawser/demo")


def prepare(say_to_stderr: bool = False) -> dict[str, Path]:
    """Build the images' tarballs where they are missing; returns them by image name."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tarballs = {name: CACHE / f"{name}-{_key(packages)}.tar" for name, packages in PACKAGES.items()}
    for name, tarball in tarballs.items():
        if not tarball.exists():
            say = functools.partial(print, file=sys.stderr if say_to_stderr else sys.stdout, flush=True)
            debian.build(PACKAGES[name], tarball, say=say)
    return tarballs


def _key(packages: tuple[str, ...]) -> str:
    return hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]


def _end(number: int, frame: object) -> None:
    """A signal that would end the process at once lets it clean up instead."""
    sys.exit(128 + number)


def demo(*, keep: bool, quiet: bool) -> int:
    """Run it; 0 only when every claim was checked and true."""
    images = prepare(say_to_stderr=quiet)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    report = Report(quiet=quiet)
    stage = Stage()
    story = Story(stage, report, images)
    kept = False
    try:
        story.tell()
        if keep:
            kept = True
            _look(stage)
        else:
            story.end()
    finally:
        if not kept:
            stage.remove()
    report.finish()
    return 0 if report.held() else 1


def cluster(*, quiet: bool) -> int:
    """The second part, in a private world of its own; 0 only when every claim was checked and true."""
    if os.geteuid() != 0:
        raise Fault("the demo makes namespaces and machines; run it as root", "denied")
    if reason := isolate():
        raise Fault(reason, "unavailable")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    netns.lo_up()
    report = Report(quiet=quiet)
    FleetStory(report).tell()
    report.finish()
    return 0 if report.held() else 1


def _look(stage: Stage) -> None:
    out = sys.stderr
    print(f"\nIt is still running. Look at it:\n  export HAWSER_SOCKET={stage.socket}", file=out)
    print("  hawser ps; hawser unit ls; hawser svc ls; hawser net ls", file=out)
    print(f"End it:\n  hawser node leave --yes && rm -r {stage.directory}", file=out)
