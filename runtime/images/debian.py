"""Root file systems from Debian packages: what `apt-get` would install on an empty machine, unpacked, no scripts run.

apt resolves and downloads the closure against an empty dpkg status; `dpkg-deb` unpacks; the result is one tarball with
merged /usr, the usual directories and a small passwd. Packages that serve only maintainer scripts are left out. The
downloads are kept in a cache directory, so the second build needs no network.
"""

import hashlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import Unavailable

SCRIPTS_ONLY = frozenset(
    ("debconf", "dpkg", "perl-base", "init-system-helpers", "lsb-base", "sysvinit-utils", "sensible-utils", "tar")
)
MERGED = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
USERS = (("root", 0, "/root"), ("daemon", 1, "/"), ("www-data", 33, "/var/www"), ("redis", 100, "/var/lib/redis"))
NOBODY = ("nobody", 65534, "/")
DIRECTORIES = {"tmp": 0o1777, "run": 0o755, "root": 0o700, "proc": 0o755, "sys": 0o755, "dev": 0o755, "etc": 0o755}


def build(packages: Sequence[str], out: Path, *, cache: Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Write the tarball `out` of `packages` and all they need; a file of the same packages is kept as it is."""
    cache = cache or Path("/var/cache/hawser/debian")
    cache.mkdir(parents=True, exist_ok=True)
    say(f"packages: {' '.join(packages)}")
    archives = _download(packages, cache)
    with tempfile.NamedTemporaryFile(dir=out.parent, suffix=".tar", delete=False) as target:
        fresh = Path(target.name)
    try:
        with tarfile.open(fresh, "w", format=tarfile.PAX_FORMAT) as tar:
            _skeleton(tar)
            seen: set[str] = set()
            for archive in archives:
                _unpack(archive, tar, seen)
            if "usr/bin/busybox" in seen and "usr/bin/sh" not in seen:
                shell = _entry("usr/bin/sh", tarfile.SYMTYPE, 0o777)
                shell.linkname = "busybox"
                tar.addfile(shell)
        fresh.chmod(0o644)
        fresh.rename(out)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    say(f"{out.name}: {len(archives)} packages, {out.stat().st_size / 1e6:.0f} MB")
    return out


def _download(packages: Sequence[str], cache: Path) -> list[Path]:
    key = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    listing = cache / f"{key}.list"
    if listing.exists():
        archives = [cache / name for name in listing.read_text().split()]
        if all(archive.exists() for archive in archives):
            return archives
    place = cache / key
    (place / "partial").mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    options = (
        f"Dir::State::status={place}/status",
        f"Dir::Cache::archives={place}",
        "APT::Install-Recommends=false",
        "Debug::NoLocking=true",
        "APT::Get::AllowUnauthenticated=false",
        "APT::Sandbox::User=root",
    )
    command = ["apt-get", "-q", "-y", "--download-only"]
    for option in options:
        command += ["-o", option]
    answer = subprocess.run([*command, "install", *packages], capture_output=True, text=True)
    if answer.returncode:
        last = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:]
        raise Unavailable(f"packages {' '.join(packages)}: apt-get: {''.join(last)}; run apt-get update and try again")
    archives = [path for path in sorted(place.glob("*.deb")) if path.name.split("_")[0] not in SCRIPTS_ONLY]
    listing.write_text("\n".join(str(path.relative_to(cache)) for path in archives))
    return archives


def _skeleton(tar: tarfile.TarFile) -> None:
    for name in ("usr", *(f"usr/{name}" for name in MERGED)):
        tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
    for name in MERGED:
        link = _entry(name, tarfile.SYMTYPE, 0o777)
        link.linkname = f"usr/{name}"
        tar.addfile(link)
    for name, mode in DIRECTORIES.items():
        tar.addfile(_entry(name, tarfile.DIRTYPE, mode))
    users = (*USERS, NOBODY)
    passwd = "".join(f"{name}:x:{uid}:{uid}:{name}:{home}:/bin/sh\n" for name, uid, home in users)
    group = "".join(f"{name if name != 'nobody' else 'nogroup'}:x:{uid}:\n" for name, uid, _ in users)
    hosts = "passwd: files\ngroup: files\nhosts: files dns\n"
    for name, text in (("etc/passwd", passwd), ("etc/group", group), ("etc/nsswitch.conf", hosts)):
        data = text.encode()
        entry = _entry(name, tarfile.REGTYPE, 0o644)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _unpack(archive: Path, tar: tarfile.TarFile, seen: set[str]) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        with tarfile.open(fileobj=child.stdout, mode="r|") as package:
            for member in package:
                name = _merged(member.name)
                if not name or name.startswith(("usr/share/doc/", "usr/share/man/", "usr/share/locale/")):
                    continue
                if member.isdir() and (name in seen or name in MERGED or name in DIRECTORIES or name == "usr"):
                    continue
                seen.add(name)
                member.name = name
                if member.islnk():
                    member.linkname = _merged(member.linkname)
                tar.addfile(member, package.extractfile(member) if member.isreg() else None)


def _merged(name: str) -> str:
    path = name.removeprefix("./").strip("/")
    first, _, rest = path.partition("/")
    return f"usr/{path}" if first in MERGED and rest else ("" if first in MERGED else path)
