"""What programs of others are installed, and which version of them."""

import shutil
import subprocess


def etcd_version() -> str:
    """The version of the etcd that is found, or nothing."""
    program = shutil.which("etcd")
    if program is None:
        return ""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    first = said.partition("\n")[0]
    return first.removeprefix("etcd Version: ").strip() if first.startswith("etcd Version") else ""
