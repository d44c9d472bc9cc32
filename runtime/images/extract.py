"""The extractor: its own process, confined to the layer's directory by chroot(2) before it reads the first byte.

Whatever a tarball says, links included, resolves inside that directory. Owners are shifted by the base of the user
namespace that containers run in. Device nodes are left out: a container's /dev is made new. Reads the tarball from
standard input; answers with one JSON line on standard output. Bytes, members and its own memory are limited.
"""

import contextlib
import json
import os
import resource
import stat
import sys
import tarfile

from . import members

BLOCK = 1 << 20
ENTRIES = 2_000_000
MEMORY = 2 << 30


class Refused(Exception):
    """The tarball is bad; the text says why."""


def extract(stream: tarfile.TarFile, base: int, limit: int) -> int:
    """Extract every member below the working directory; returns the bytes of all files."""
    total = 0
    directories: list[tuple[str, int, float]] = []
    for count, member in enumerate(stream, 1):
        reason = members.problem(member.name, member.linkname, hardlink=member.islnk())
        reason = reason or members.owner_problem(member.name, member.uid, member.gid)
        if reason:
            raise Refused(reason)
        if count > ENTRIES:
            raise Refused(f"it has more than {ENTRIES} members")
        path = members.clean(member.name)
        if member.isdir():
            directories.append((path or ".", member.mode, member.mtime))
        total += member.size if member.isreg() else 0
        if total > limit:
            raise Refused(f"it unpacks to more than {limit >> 20} MiB")
        _place(stream, member, path or ".", base)
    for path, mode, mtime in reversed(directories):
        if os.path.islink(path) or not os.path.isdir(path):
            continue  # a later member took its place
        os.chmod(path, mode & 0o7777)
        os.utime(path, (mtime, mtime))
    return total


def _place(stream: tarfile.TarFile, member: tarfile.TarInfo, path: str, base: int) -> None:
    if member.ischr() or member.isblk():
        return
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        _make_folders(parent)
    if not member.isdir() or not os.path.isdir(path):
        _clear(path)
    if member.isdir():
        if not os.path.isdir(path):
            os.mkdir(path, 0o755)
    elif member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        os.link(members.clean(member.linkname), path, follow_symlinks=False)
        return
    elif member.isfifo():
        os.mkfifo(path)
    else:
        _write(stream, member, path)
    os.chown(path, member.uid + base, member.gid + base, follow_symlinks=False)
    if not member.issym():
        os.chmod(path, member.mode & 0o7777)
        os.utime(path, (member.mtime, member.mtime))


def _write(stream: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    source = stream.extractfile(member)
    if source is None:
        raise Refused(f"member {member.name!r} is of an unknown type")
    with open(path, "xb") as target:
        while block := source.read(BLOCK):
            target.write(block)


def _make_folders(path: str) -> None:
    """As os.makedirs, which recurses."""
    for end in (*(index for index, letter in enumerate(path) if letter == "/"), len(path)):
        if not os.path.isdir(path[:end]):
            os.mkdir(path[:end], 0o755)


def _clear(path: str) -> None:
    """A later member replaces an earlier one, as tar does; a directory with something in it stays an error."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
        else:
            os.unlink(path)


def main() -> int:
    """`extract DIRECTORY BASE LIMIT` with the tarball on standard input."""
    directory, base, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import bz2  # noqa: F401  - after chroot nothing can be imported
    import gzip
    import lzma

    "x".encode("idna")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chroot(directory)
    os.chdir("/")
    os.umask(0)
    answer: dict[str, object]
    try:
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|*", errors="surrogateescape") as stream:
            answer = {"size": extract(stream, base, limit)}
        while sys.stdin.buffer.read(BLOCK):
            continue
    except Refused as error:
        answer = {"refused": str(error)}
    except (tarfile.TarError, EOFError, ValueError, OverflowError, lzma.LZMAError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        answer = {"refused": f"it is no complete tarball ({error})"}
    except MemoryError:
        answer = {"refused": f"its headers need more than {MEMORY >> 20} MiB of memory"}
    except OSError as error:
        answer = {"errno": error.errno, "refused": f"{error.strerror}: {error.filename}"}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
