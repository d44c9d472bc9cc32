"""Images: what is imported is whole, what is bad is refused whole."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hawser.runtime.errors import Conflict, Invalid, NotFound, Unavailable
from hawser.runtime.images import Images
from tests.runtime.tools import Tar
from tests.wait import until

pytestmark = pytest.mark.root


@pytest.fixture
def library(tmp_path: Path) -> Images:
    return Images(tmp_path / "images")


def names(library: Images) -> list[str]:
    return [image.name for image in library.ls()]


def nothing_left(library: Images) -> bool:
    return os.listdir(library.root / "incoming") == []


def small(tar: Tar, text: bytes = b"hello") -> bytes:
    tar.folder("etc", mode=0o750)
    tar.file("etc/note", text, mode=0o4755)
    tar.link("etc/way", "/outside/of/it")
    tar.hardlink("etc/twin", "etc/note")
    return tar.bytes()


def test_files_modes_owners_and_links(library: Images, tarball: Tar) -> None:
    tarball.add("srv", b"5", mode=0o700, uid=33, gid=34)
    image = library.import_tar(io.BytesIO(small(tarball)), "small")
    layer = library.layer_path(image)
    note = (layer / "etc/note").stat()
    assert (note.st_mode & 0o7777, note.st_uid, note.st_nlink) == (0o4755, 100_000, 2)
    assert (layer / "etc/twin").stat().st_ino == note.st_ino
    assert os.readlink(layer / "etc/way") == "/outside/of/it"
    assert ((layer / "srv").stat().st_uid, (layer / "srv").stat().st_gid) == (100_033, 100_034)
    assert (layer.stat().st_uid, image.size) == (100_000, 5)
    assert (layer / "etc").stat().st_mode & 0o777 == 0o750
    assert library.get("small") == image == library.get(image.id[:8])


def test_the_beginning_of_several_ids_is_told(library: Images, tarball: Tar) -> None:
    library.import_tar(io.BytesIO(small(tarball)), "one")
    for name, id in (("two", "abcdef0" + "1" * 57), ("three", "abcdef0" + "2" * 57)):
        entry = (library.root / "names/one.json").read_text().replace('"one"', f'"{name}"')
        entry = entry.replace(library.get("one").id, id)
        (library.root / f"names/{name}.json").write_text(entry)
    with pytest.raises(Conflict, match=r"abcdef0 may be any of three \(abcdef022222\), two \(abcdef011111\)"):
        library.get("abcdef0")
    assert library.get("abcdef01").name == "two"
    with pytest.raises(NotFound):
        library.get("abcde")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compressions(library: Images, tarball: Tar, pack: Callable[[bytes], bytes]) -> None:
    image = library.import_tar(io.BytesIO(pack(small(tarball))), "packed")
    assert (library.layer_path(image) / "etc/note").read_bytes() == b"hello"


def test_from_a_path(library: Images, tarball: Tar, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(small(tarball))
    assert library.import_tar(tmp_path / "x.tar", "x").name == "x"


CLIMBS: dict[str, Callable[[Tar], None]] = {
    "climbs out": lambda tar: tar.file("../evil"),
    "climbs": lambda tar: tar.file("etc/../../evil"),
    "absolute": lambda tar: tar.file("/tmp/evil"),
    "hard link '../../etc/passwd' climbs": lambda tar: tar.hardlink("shadow", "../../etc/passwd"),
    "hard link '/etc/passwd' has an absolute": lambda tar: tar.hardlink("shadow", "/etc/passwd"),
}


@pytest.mark.parametrize("word", CLIMBS)
def test_a_tarball_that_climbs_is_refused_whole(library: Images, tarball: Tar, word: str) -> None:
    tarball.file("good", b"x")
    CLIMBS[word](tarball)
    with pytest.raises(Invalid, match=word):
        library.import_tar(tarball.stream(), "evil")
    assert names(library) == []
    assert nothing_left(library)
    assert os.listdir(library.root / "layers") == []


def test_a_file_through_a_link_lands_inside(library: Images, tarball: Tar, tmp_path: Path) -> None:
    """The extractor is confined: a link to an absolute path leads to a place below the layer, or nowhere."""
    (tmp_path / "target").mkdir()
    tarball.link("way", str(tmp_path / "target"))
    tarball.file("way/evil", b"x")
    with pytest.raises(Invalid):
        library.import_tar(tarball.stream(), "through")
    assert os.listdir(tmp_path / "target") == []
    assert nothing_left(library)


def test_a_file_through_a_relative_link_stays_inside(library: Images, tarball: Tar) -> None:
    tarball.folder("usr/bin")
    tarball.link("bin", "usr/bin")
    tarball.file("bin/tool", b"x")
    image = library.import_tar(tarball.stream(), "merged")
    assert (library.layer_path(image) / "usr/bin/tool").read_bytes() == b"x"


def test_devices_are_left_out(library: Images, tarball: Tar) -> None:
    tarball.folder("dev")
    tarball.add("dev/disk", b"4", devmajor=254, devminor=0)
    tarball.add("dev/tty9", b"3", devmajor=4, devminor=9)
    image = library.import_tar(tarball.stream(), "devices")
    assert os.listdir(library.layer_path(image) / "dev") == []


def test_a_negative_owner_does_not_become_the_machines_root(library: Images) -> None:
    """GNU tar's binary numbers may be negative: shifted by the base, -100000 would be 0."""
    header = tarfile.TarInfo("root-owned")
    header.uid = -100_000
    header.mode = 0o4755
    data = header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024
    with pytest.raises(Invalid, match="belongs to -100000:0"):
        library.import_tar(io.BytesIO(data), "negative")
    assert nothing_left(library)


def test_others_of_the_machine_cannot_reach_the_layers(library: Images) -> None:
    assert library.root.stat().st_mode & 0o077 == 0


def test_a_later_member_replaces_an_earlier(library: Images, tarball: Tar) -> None:
    tarball.file("a", b"one")
    tarball.file("a", b"two")
    image = library.import_tar(tarball.stream(), "twice")
    assert (library.layer_path(image) / "a").read_bytes() == b"two"


@pytest.mark.parametrize("data", [b"", b"no tarball at all" * 99, b"\x1f\x8b broken"])
def test_what_is_no_tarball_is_refused(library: Images, data: bytes) -> None:
    with pytest.raises(Invalid, match="nothing was imported"):
        library.import_tar(io.BytesIO(data), "bad")
    assert nothing_left(library)


def test_a_torn_tarball_is_refused(library: Images, tarball: Tar) -> None:
    tarball.file("big", b"x" * 100_000)
    with pytest.raises(Invalid, match="nothing was imported"):
        library.import_tar(io.BytesIO(tarball.bytes()[:50_000]), "torn")
    assert names(library) == []


@pytest.mark.parametrize("name", ["", "UPPER", "../up", "a/b", "-a", "a" * 129, "a\n"])
def test_bad_names(library: Images, tarball: Tar, name: str) -> None:
    with pytest.raises(Invalid, match="image name"):
        library.import_tar(tarball.stream(), name)


def test_a_full_disk_leaves_nothing(tmp_path: Path, tarball: Tar) -> None:
    os.system(f"mount -t tmpfs -o size=1m tmpfs {tmp_path}")
    try:
        library = Images(tmp_path / "images")
        tarball.file("big", b"x" * (2 << 20))
        with pytest.raises(Unavailable, match=r"No space left.*free some space"):
            library.import_tar(tarball.stream(), "big")
        assert nothing_left(library)
        assert names(library) == []
    finally:
        os.system(f"umount {tmp_path}")


def test_the_same_tarball_under_two_names_is_one_layer(library: Images, tarball: Tar) -> None:
    data = small(tarball)
    for name in ("a", "b", "a"):
        library.import_tar(io.BytesIO(data), name)
    assert names(library) == ["a", "b"]
    assert len(os.listdir(library.root / "layers")) == 1
    library.remove("a")
    assert len(os.listdir(library.root / "layers")) == 1
    library.remove("b")
    assert os.listdir(library.root / "layers") == []
    with pytest.raises(NotFound, match="image b does not exist"):
        library.get("b")


def test_imports_at_once(library: Images, tarball: Tar) -> None:
    data = small(tarball)
    threads = [threading.Thread(target=library.import_tar, args=(io.BytesIO(data), f"n{i % 2}")) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(library) == ["n0", "n1"]
    assert len(os.listdir(library.root / "layers")) == 1
    assert nothing_left(library)


def test_an_image_in_use_stays(library: Images, tarball: Tar) -> None:
    image = library.import_tar(io.BytesIO(small(tarball)), "used")
    library.in_use = lambda layer: layer == image.id
    with pytest.raises(Conflict, match="used by a container"):
        library.remove("used")
    library.import_tar(io.BytesIO(small(Tar(), b"newer")), "used")
    library.collect()
    assert library.layer_path(image).is_dir()
    library.in_use = lambda layer: False
    library.collect()
    assert not library.layer_path(image).exists()
    assert library.layer_path(library.get("used")).is_dir()


def test_what_a_crash_left_is_removed_at_the_next_start(library: Images) -> None:
    (library.root / "incoming" / "half" / "fs").mkdir(parents=True)
    until(lambda: nothing_left(Images(library.root)), what="an empty incoming directory")
