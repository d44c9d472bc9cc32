"""The demo from start to end: images, stage, story, report."""

import sys
from pathlib import Path

from hawser.runtime.images import debian

from .report import Report
from .stage import Stage
from .story import PACKAGES, Story

CACHE = Path("/var/cache/hawser/demo")


def prepare(say_to_stderr: bool = False) -> Path:
    """Build the images' tarballs where they are missing; returns their directory."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for name, packages in PACKAGES.items():
        if not (CACHE / f"{name}.tar").exists():
            debian.build(
                packages,
                CACHE / f"{name}.tar",
                say=lambda line: print(line, file=sys.stderr if say_to_stderr else None),
            )
    return CACHE


def demo(*, keep: bool, quiet: bool) -> int:
    """Run it; 0 only when every claim was checked and true."""
    images = prepare(say_to_stderr=quiet)
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


def _look(stage: Stage) -> None:
    out = sys.stderr
    print(f"\nIt is still running. Look at it:\n  export HAWSER_SOCKET={stage.socket}", file=out)
    print("  hawser ps; hawser unit ls; hawser svc ls; hawser net ls", file=out)
    print(f"End it:\n  hawser node leave --yes && rm -r {stage.directory}", file=out)
