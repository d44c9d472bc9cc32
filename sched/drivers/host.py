"""What the agent asks of its machine: the boot it is in, its host name, environment files."""

import asyncio
import os
from pathlib import Path

from ..environment import parse
from ..errors import Invalid, NotFound
from ..model import EnvironmentFile

BOOT = Path("/proc/sys/kernel/random/boot_id")
MAX_FILE = 1 << 20


def boot_id() -> str:
    """Different after every boot; empty where the kernel does not say (random(4))."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""


def hostname() -> str:
    return os.uname().nodename


async def read_environment(files: tuple[EnvironmentFile, ...]) -> dict[str, str]:
    """The variables of all files, later ones first in force. NotFound, Invalid."""
    if not files:
        return {}
    return await asyncio.to_thread(_read, files)


def _read(files: tuple[EnvironmentFile, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files:
        try:
            with open(file.path, encoding="utf-8", errors="surrogateescape") as source:
                text = source.read(MAX_FILE + 1)
        except OSError as error:
            if file.optional:
                continue
            raise NotFound(f"EnvironmentFile={file.path}: {error.strerror}; make it, or write -{file.path}") from error
        if len(text) > MAX_FILE:
            raise Invalid(f"EnvironmentFile={file.path} is larger than {MAX_FILE} bytes")
        found |= parse(text)
    return found
