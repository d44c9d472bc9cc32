"""A root file system from Debian packages: paths, skeleton, unpacking; apt needs a network and is not run here."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from hawser.runtime.errors import Unavailable
from hawser.runtime.images import debian


@pytest.mark.parametrize(
    ("path", "merged"),
    [
        ("./bin/sh", "usr/bin/sh"),
        ("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("./usr/bin/env", "usr/bin/env"),
        ("./bin/", ""),
        ("./", ""),
        ("./etc/passwd", "etc/passwd"),
        ("./binary/x", "binary/x"),
    ],
)
def test_paths_are_those_of_a_merged_usr(path: str, merged: str) -> None:
    assert debian._merged(path) == merged


def test_the_skeleton_has_what_programs_expect() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        debian._skeleton(tar)
        debian._accounts(tar, {"zebra", "redis", "www-data"})
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        assert tar.getmember("bin").linkname == "usr/bin"
        assert tar.getmember("tmp").mode == 0o1777
        passwd, group = (tar.extractfile(name) for name in ("etc/passwd", "etc/group"))
        assert passwd is not None
        assert group is not None
        text = passwd.read().decode()
        assert "nogroup:x:65534:" in group.read().decode()
    assert text.startswith("root:x:0:0:")
    assert "www-data:x:33:33:" in text
    assert "redis:x:100:100:redis:/var/lib/redis:" in text
    assert "zebra:x:101:101:" in text


@pytest.mark.parametrize(
    ("name", "text", "users"),
    [
        ("usr/lib/systemd/system/a.service", "[Service]\nUser=redis\nGroup=other\n", {"redis"}),
        ("usr/lib/systemd/system/a@.service", "[Service]\nUser=%i\n", set()),
        ("usr/lib/sysusers.d/a.conf", "# text\nu _a-b 123 'words' /home\ng users -\n", {"_a-b"}),
        ("etc/a.conf", "User=redis\n", set()),
    ],
)
def test_users_are_those_that_the_packages_files_name(name: str, text: str, users: set[str]) -> None:
    assert debian._named(name, text) == users


APT = """#!/bin/sh
# An apt-get that knows nothing before `update`; the version and every call are in files beside it.
here=$(dirname "$0"); echo "$*" >> "$here/calls"
for word in "$@"; do case $word in Dir::Cache::archives=*) archives=${word#*=};; esac; done
case "$*" in
  *update*) touch "$here/lists" ;;
  *) [ -e "$here/lists" ] || { echo "E: Unable to locate package tool" >&2; exit 100; }
     name=tool_$(cat "$here/version")_all.deb
     case "$*" in
       *--print-uris*) echo "'http://mirror.example/$name' $name 4 SHA256:00" ;;
       *--download-only*) echo > "$archives/$name" ;;
     esac ;;
esac
"""


def test_archives_are_those_of_the_versions_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_, cache = tmp_path / "bin", tmp_path / "cache"
    for place in (bin_, cache):
        place.mkdir()
    (bin_ / "apt-get").write_text(APT)
    (bin_ / "apt-get").chmod(0o755)
    (bin_ / "version").write_text("1")
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")

    def calls() -> tuple[list[str], int, int]:
        names = [path.name for path in debian._download(["tool"], cache)]
        made = (bin_ / "calls").read_text().splitlines()
        (bin_ / "calls").unlink()
        return names, sum("update" in call for call in made), sum("--download-only" in call for call in made)

    assert calls() == (["tool_1_all.deb"], 1, 1)
    assert calls() == (["tool_1_all.deb"], 0, 0)
    (bin_ / "version").write_text("2")
    assert calls() == (["tool_2_all.deb"], 0, 1)
    (bin_ / "lists").unlink()
    assert calls() == (["tool_2_all.deb"], 0, 0)


def test_packages_that_apt_cannot_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package tool' >&2; exit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="packages tool: apt-get: E: Unable to locate package tool; check"):
        debian._download(["tool"], tmp_path / "cache")


def test_a_package_is_unpacked_without_its_documents(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("DEBIAN", "bin", "usr/share/doc/tool", "etc"):
        (tree / name).mkdir(parents=True)
    control = "Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a tool\n"
    (tree / "DEBIAN/control").write_text(control)
    (tree / "bin/tool").write_text("#!/bin/sh\n")
    (tree / "usr/share/doc/tool/copyright").write_text("text")
    (tree / "etc/tool.conf").write_text("a=b\n")
    subprocess.run(
        ["dpkg-deb", "--build", "-Znone", str(tree), str(tmp_path / "tool.deb")], check=True, capture_output=True
    )
    with tarfile.open(tmp_path / "out.tar", "w") as tar:
        debian._unpack(tmp_path / "tool.deb", tar, set())
    with tarfile.open(tmp_path / "out.tar") as tar:
        files = [member.name for member in tar if member.isreg()]
    assert sorted(files) == ["etc/tool.conf", "usr/bin/tool"]
