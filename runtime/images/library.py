"""The images of a node: `layers/<id>` holds a root file system, `names/<name>` says which id a name means.

An import extracts beside the layers, syncs, and renames: a name always means a complete layer, and what a crash or a
full disk leaves in `incoming/` is removed at the next start. The id is the SHA-256 of the tarball.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from ..drivers.removal import remove_tree
from ..errors import Conflict, Invalid, NotFound, Unavailable

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?")
LIMIT = 32 << 30
BLOCK = 1 << 20
UID_BASE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`id` is hexadecimal SHA-256, `size` bytes of files, `created` seconds since the epoch."""

    name: str
    id: str
    size: int
    created: float


class Images:
    """Images below `root`; blocking. `in_use(id)` says whether a container stands on a layer."""

    def __init__(
        self, root: Path, *, uid_base: int = UID_BASE, in_use: Callable[[str], bool] = lambda layer: False
    ) -> None:
        self.root = root
        self.uid_base = uid_base
        self.in_use = in_use
        self.lock = threading.RLock()
        for name in ("layers", "names", "incoming"):
            (root / name).mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)  # set-uid programs of images are nobody's on the host
        for leftover in (root / "incoming").iterdir():
            _discard(leftover)

    def import_tar(self, source: Path | BinaryIO, name: str) -> Image:
        """Import a tarball (plain, gzip, bzip2, xz) as `name`, replacing what the name meant.

        Invalid for a bad name or tarball, Unavailable when the disk is full; either leaves nothing behind.
        """
        if not NAME.fullmatch(name):
            raise Invalid(f"image name {name!r}: use 1-128 of a-z, 0-9, '.', '_' and '-', ends being letter or digit")
        if isinstance(source, Path):
            with source.open("rb") as stream:
                return self.import_tar(stream, name)
        work = Path(tempfile.mkdtemp(dir=self.root / "incoming"))
        try:
            (work / "fs").mkdir(mode=0o755)
            os.chown(work / "fs", self.uid_base, self.uid_base)
            digest, size = self._extract(source, work / "fs", name)
            return self._publish(work / "fs", Image(name=name, id=digest, size=size, created=time.time()))
        except OSError as error:
            raise _wrapped(name, error) from error
        finally:
            _discard(work)

    def get(self, name: str) -> Image:
        """The image of a name, or of an id's beginning of 6 digits or more. NotFound, Conflict (several begin so)."""
        images = self.ls()
        found = [image for image in images if image.name == name]
        found = found or [image for image in images if len(name) >= 6 and image.id.startswith(name)]
        if len({image.id for image in found}) > 1:
            words = ", ".join(f"{image.name} ({image.id[:12]})" for image in found)
            raise Conflict(f"image {name} may be any of {words}; give more digits, or a name")
        if found:
            return found[0]
        raise NotFound(f"image {name} does not exist; import it: hawser image import FILE {name}")

    def ls(self) -> list[Image]:
        """Every image, by name."""
        found = []
        for path in sorted((self.root / "names").glob("*.json")):
            found.append(Image(**json.loads(path.read_text())))
        return found

    def remove(self, name: str) -> None:
        """Forget a name, and its layer when no other name means it. NotFound, Conflict."""
        with self.lock:
            image = self.get(name)
            others = [other for other in self.ls() if other.id == image.id and other.name != image.name]
            if not others and self.in_use(image.id):
                raise Conflict(f"image {image.name} is used by a container; remove that first")
            (self.root / "names" / f"{image.name}.json").unlink()
        self.collect()

    def collect(self) -> None:
        """Remove layers that no name means and no container stands on."""
        doomed = []
        with self.lock:
            named = {image.id for image in self.ls()}
            for layer in os.listdir(self.root / "layers"):
                if layer not in named and not self.in_use(layer):
                    place = Path(tempfile.mkdtemp(dir=self.root / "incoming"))
                    (self.root / "layers" / layer).rename(place / "fs")
                    doomed.append(place)
        for place in doomed:
            _discard(place)

    def layer_path(self, image: Image) -> Path:
        """The directory of an image's root file system."""
        return self.root / "layers" / image.id

    def _extract(self, source: BinaryIO, target: Path, name: str) -> tuple[str, int]:
        """Feed the extractor; returns the tarball's digest and the size of its files."""
        command = [sys.executable, "-m", "hawser.runtime.images.extract", str(target), str(self.uid_base), str(LIMIT)]
        digest = hashlib.sha256()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                while block := source.read(BLOCK):
                    digest.update(block)
                    child.stdin.write(block)
                child.stdin.close()
            except BrokenPipeError:
                pass  # the extractor refused early; its answer says why
            answer = json.loads(child.stdout.read() or b'{"refused": "the extractor died"}')
        if answer.get("errno") in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        if "refused" in answer:
            raise Invalid(f"image {name}: {answer['refused']}; nothing was imported")
        return digest.hexdigest(), int(answer["size"])

    def _publish(self, tree: Path, image: Image) -> Image:
        layer = self.layer_path(image)
        entry = self.root / "names" / f"{image.name}.json"
        fresh = tree.parent / "name"
        with fresh.open("w") as stream:
            json.dump(asdict(image), stream)
        if subprocess.run(["sync", "-f", str(tree)], stderr=subprocess.DEVNULL).returncode:
            raise OSError(errno.EIO, "Input/output error", str(tree))
        with self.lock:
            if not layer.exists():
                tree.rename(layer)
            fresh.rename(entry)
        return image


def _discard(place: Path) -> None:
    with contextlib.suppress(OSError):
        remove_tree(place)


def _wrapped(name: str, error: OSError) -> Unavailable:
    advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see: hawser check"
    return Unavailable(f"image {name}: {error.strerror}; nothing was imported; {advice}")
