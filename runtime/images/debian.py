"""Root file systems from Debian packages: what `apt-get` would install on an empty machine, unpacked, no scripts run.

apt resolves and downloads the closure against an empty dpkg status; `dpkg-deb` unpacks; the result is one tarball with
merged /usr, the usual directories and a passwd: Debian's fixed users (of base-passwd), those that the packages' units
and sysusers.d files name, for the scripts that would add them do not run, and the caller's. Packages that serve only
maintainer scripts are left out. The downloads are kept in a cache directory; before each build apt is asked, without
network, which versions it would install, and what has changed since is fetched.
"""

import hashlib
import io
import re
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
FIXED_WORDS = (
    "daemon:1 bin:2 sys:3 games:5 man:6 lp:7 mail:8 news:9 uucp:10 proxy:13 "
    "www-data:33 backup:34 list:38 irc:39 _apt:42"
)
FIXED = {name: int(number) for name, _, number in (word.partition(":") for word in FIXED_WORDS.split())}
HOMES = {"www-data": "/var/www", "proxy": "/bin", "daemon": "/usr/sbin", "man": "/var/cache/man", "mail": "/var/mail"}
FIRST, NOBODY = 100, 65534
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
UNIT = re.compile(r"usr/lib/systemd/system/[^/]+\.service")
SYSUSERS = re.compile(r"usr/lib/sysusers\.d/[^/]+\.conf")
DIRECTORIES = {"tmp": 0o1777, "run": 0o755, "root": 0o700, "proc": 0o755, "sys": 0o755, "dev": 0o755, "etc": 0o755}


def build(
    packages: Sequence[str],
    out: Path,
    *,
    users: Sequence[str] = (),
    cache: Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Write the tarball `out` of `packages` and all they need, with system users of the names `users` beside those the
    packages name (ids from 100 on, by name). Unavailable when apt cannot have the packages."""
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
            named = set(users)
            for archive in archives:
                named |= _unpack(archive, tar, seen)
            _accounts(tar, named)
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
    """The archives of `packages` and all they need, in the versions apt would install now."""
    place = cache / hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    for name in ("partial", "none/partial"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    known = place / "wanted"
    asked = _apt(place, place / "none", "--print-uris", "install", *packages)
    if asked.returncode and known.exists() and all((place / name).exists() for name in known.read_text().split()):
        wanted = known.read_text().split()  # no lists of packages on this machine: what there is, then
    else:
        if asked.returncode:
            _apt(place, place / "none", "update")
            asked = _apt(place, place / "none", "--print-uris", "install", *packages)
        wanted = _names(_checked(asked, packages))
        if not all((place / name).exists() for name in wanted):
            _checked(_apt(place, place, "--download-only", "install", *packages), packages)
        known.write_text("\n".join(wanted))
    return [place / name for name in sorted(wanted) if name.split("_")[0] not in SCRIPTS_ONLY]


def _apt(place: Path, archives: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """apt-get for an empty machine, its downloads in `archives`."""
    options = (
        f"Dir::State::status={place}/status",
        f"Dir::Cache::archives={archives}",
        "APT::Install-Recommends=false",
        "Debug::NoLocking=true",
        "APT::Get::AllowUnauthenticated=false",
        "APT::Sandbox::User=root",
    )
    command = ["apt-get", "-q", "-y", *(word for option in options for word in ("-o", option)), *words]
    return subprocess.run(command, capture_output=True, text=True)


def _checked(answer: subprocess.CompletedProcess[str], packages: Sequence[str]) -> str:
    if answer.returncode:
        last = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:]
        words = f"apt-get: {''.join(last)}; check /etc/apt/sources.list and the network, and try again"
        raise Unavailable(f"packages {' '.join(packages)}: {words}")
    return answer.stdout


def _names(uris: str) -> list[str]:
    """File names of archives from the lines of --print-uris: 'URI' NAME SIZE HASH."""
    lines = (line.split() for line in uris.splitlines() if line.startswith("'"))
    return [words[1] for words in lines if len(words) > 2 and words[1].endswith(".deb")]


def _accounts(tar: tarfile.TarFile, named: set[str]) -> None:
    """passwd, group and where names are looked up."""
    others = sorted(named - FIXED.keys() - {"root", "nobody"})
    ids = FIXED | {name: FIRST + number for number, name in enumerate(others)} | {"nobody": NOBODY}
    homes = {name: f"/var/lib/{name}" for name in others} | HOMES
    passwd = "root:x:0:0:root:/root:/bin/sh\n"
    passwd += "".join(
        f"{name}:x:{id}:{id}:{name}:{homes.get(name, '/nonexistent')}:/usr/sbin/nologin\n" for name, id in ids.items()
    )
    group = "root:x:0:\n" + "".join(f"{'nogroup' if name == 'nobody' else name}:x:{id}:\n" for name, id in ids.items())
    hosts = "passwd: files\ngroup: files\nhosts: files dns\n"
    for name, text in (("etc/passwd", passwd), ("etc/group", group), ("etc/nsswitch.conf", hosts)):
        entry = _entry(name, tarfile.REGTYPE, 0o644)
        entry.size = len(text.encode())
        tar.addfile(entry, io.BytesIO(text.encode()))


def _named(name: str, text: str) -> set[str]:
    """Users that a unit runs as (systemd.exec(5)), or that a file of sysusers.d(5) makes."""
    found: list[str] = []
    if UNIT.fullmatch(name):
        found = [line[5:].strip() for line in text.splitlines() if line.startswith("User=")]
    elif SYSUSERS.fullmatch(name):
        found = [words[1] for words in map(str.split, text.splitlines()) if len(words) > 1 and words[0] in ("u", "u!")]
    return {user for user in found if USER.fullmatch(user)}


def _skeleton(tar: tarfile.TarFile) -> None:
    for name in ("usr", *(f"usr/{name}" for name in MERGED)):
        tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
    for name in MERGED:
        link = _entry(name, tarfile.SYMTYPE, 0o777)
        link.linkname = f"usr/{name}"
        tar.addfile(link)
    for name, mode in DIRECTORIES.items():
        tar.addfile(_entry(name, tarfile.DIRTYPE, mode))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _unpack(archive: Path, tar: tarfile.TarFile, seen: set[str]) -> set[str]:
    """Add a package's files; returns the users they name."""
    users: set[str] = set()
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
                source = package.extractfile(member) if member.isreg() else None
                if source and (UNIT.fullmatch(name) or SYSUSERS.fullmatch(name)):
                    data = source.read()
                    users |= _named(name, data.decode(errors="replace"))
                    tar.addfile(member, io.BytesIO(data))
                else:
                    tar.addfile(member, source)
    return users


def _merged(name: str) -> str:
    path = name.removeprefix("./").strip("/")
    first, _, rest = path.partition("/")
    return f"usr/{path}" if first in MERGED and rest else ("" if first in MERGED else path)
