"""The command `hawser`: one line for every failure, the exit code of its kind, a traceback only with --debug.

`hawser ps` is the command people run in loops and prompts, so it is answered before the option parser is even
imported; anything it does not know falls through to the full command line.
"""

import sys


def main() -> int:
    """Run the command line with `sys.argv`; returns the exit code (hawser.faults)."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["ps"]:
        from . import quick

        code = quick.ps(arguments[1:])
        if code is not None:
            return code
    from .cli import run
    from .output import settle

    return settle(run(arguments))


if __name__ == "__main__":
    sys.exit(main())
