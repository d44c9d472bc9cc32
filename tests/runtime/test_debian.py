"""A root file system from Debian packages: paths, skeleton, unpacking; apt needs a network and is not run here."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

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
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        assert tar.getmember("bin").linkname == "usr/bin"
        assert tar.getmember("tmp").mode == 0o1777
        passwd = tar.extractfile("etc/passwd")
        assert passwd is not None
        text = passwd.read().decode()
    assert text.startswith("root:x:0:0:")
    assert "www-data:x:33:33:" in text


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
