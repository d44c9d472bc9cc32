"""The key file, and the probe."""

import os
import shutil
from pathlib import Path

import pytest

from hawser.netd.errors import Invalid, NetError, Unavailable
from hawser.netd.wireguard.drivers import probe as probing
from hawser.netd.wireguard.drivers.keyfile import NAME, KeyFile
from hawser.netd.wireguard.drivers.overlay import EncryptedOverlay
from hawser.netd.wireguard.drivers.probe import Flavour, probe


def test_keys_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        made = KeyFile(tmp_path / "data", "a").load(1e9)
    finally:
        os.umask(mask)
    path = tmp_path / "data" / NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyFile(tmp_path / "data", "a").load(2e9) == made
    assert [*path.parent.iterdir()] == [path]
    assert KeyFile(tmp_path / "other", "a").load(1e9) != made


def test_a_new_key_replaces_the_file_in_one_step(tmp_path: Path) -> None:
    file = KeyFile(tmp_path, "a", 1000.0)
    made = file.load(500.0)
    (tmp_path / "wireguard.new").write_text("left by a kill")
    file.save(made.rotate(1200.0, file.seed()))
    assert KeyFile(tmp_path, "a", 1000.0).load(1200.0).slots[1] != made.slots[1]
    assert [one.name for one in tmp_path.iterdir()] == [NAME]


def test_keys_that_others_could_read_are_refused(tmp_path: Path) -> None:
    KeyFile(tmp_path, "a").load(1e9)
    (tmp_path / NAME).chmod(0o644)
    with pytest.raises(Invalid, match="others may have read the keys; remove the file"):
        KeyFile(tmp_path, "a").load(1e9)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0 secret\n1 secret\n"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    (tmp_path / NAME).chmod(0o600)
    with pytest.raises(Invalid, match="remove the file, new keys are made") as caught:
        KeyFile(tmp_path, "a").load(1e9)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to("/etc/hostname")
    with pytest.raises(NetError, match=r"read .*wireguard\.key"):
        KeyFile(tmp_path, "a").load(1e9)


@pytest.mark.root
def test_the_probe_finds_what_there_is_and_leaves_nothing() -> None:
    assert probe().flavour in (Flavour.KERNEL, Flavour.USERSPACE)


@pytest.mark.root
def test_without_any_wireguard_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probing, "in_kernel", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    text = "the kernel has no WireGuard and wireguard-go is not installed; install wireguard-go"
    assert probe().reason == text
    with pytest.raises(Unavailable, match=text):
        EncryptedOverlay("a", "i", tmp_path, tmp_path)
