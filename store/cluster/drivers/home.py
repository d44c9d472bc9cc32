"""A machine's own files of its cluster, in one directory: which cluster it is of, its key and certificate, the CAs.

Every file is replaced by a rename after it is on disk, so a crash leaves the old or the new one, whole; all are for
root alone. The membership is written last at a join and removed first at a leave: without it there is no cluster.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ...errors import StoreError, Unavailable
from ..certificates import Authority
from ..model import MEMBERSHIP_FILE, Founding, Membership, decode, encode

T = TypeVar("T")


class Home:
    """The directory `directory`, made when something is written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "machine.pem"
        """The machine's certificate and its key in one file, so that both are replaced at once"""
        self.ca = directory / "ca.pem"
        self._authority_key, self._authority = directory / "ca-key.pem", directory / "issuer.pem"
        self._membership = directory / MEMBERSHIP_FILE
        self._founding = directory / "founding.json"
        self._etcd = directory / "etcd.json"
        self._asking = directory / "joining.pem"

    def membership(self) -> Membership | None:
        """Which cluster this machine is of. Corrupt, Unavailable."""
        text = self._read(self._membership)
        return None if text is None else decode(Membership, text, str(self._membership))

    def founding(self) -> Founding | None:
        """What is to be written into the cluster that this machine founds, until that is done."""
        text = self._read(self._founding)
        return None if text is None else decode(Founding, text, str(self._founding))

    def begin_founding(self, founding: Founding) -> None:
        """The cluster is to be founded; before the membership."""
        self._write(self._founding, encode(founding))

    def end_founding(self) -> None:
        """The cluster is founded."""
        try:
            self._founding.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(self._founding, error) from error

    def authority(self) -> Authority | None:
        """The cluster's CA with its key, on machines that may run a member."""
        key, certificate = self._read(self._authority_key), self._read(self._authority)
        return None if key is None or certificate is None else Authority(key=key, certificate=certificate)

    def identity(self) -> bytes:
        """The machine's certificate and key, as PEM. Unavailable when there is none."""
        text = self._read(self.certificate)
        if text is None:
            raise Unavailable(f"{self.certificate} is missing: the machine must join again")
        return text

    def save_identity(self, certificate: bytes, key: bytes, ca: bytes) -> None:
        """A new certificate and what to trust."""
        self._write(self.ca, ca)
        self._write(self.certificate, certificate + key)

    def save_authority(self, authority: Authority) -> None:
        """The CA, for a machine that issues certificates."""
        self._write(self._authority_key, authority.key)
        self._write(self._authority, authority.certificate)

    def start_anew(self) -> None:
        """Of no cluster, what an attempt that was cut off has left here goes, except the key to ask with."""
        try:
            for path in self.directory.iterdir() if self.directory.is_dir() else ():
                if path != self._asking:
                    path.unlink()
        except OSError as error:
            raise _refused(self.directory, error) from error

    def asking(self, fresh: Callable[[], bytes]) -> bytes:
        """The key this machine asks to be let in with: the same until it is in, so that a token whose answer was lost
        may be used again; `fresh` makes it."""
        key = self._read(self._asking)
        if key is None:
            key = fresh()
            self._write(self._asking, key)
        return key

    def save_membership(self, membership: Membership) -> None:
        """From now on the machine is of this cluster."""
        self._write(self._membership, encode(membership))
        try:
            self._asking.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(self._asking, error) from error

    def save_etcd(self, where: object) -> None:
        """How an etcd that others run is reached, passwords and all."""
        self._write(self._etcd, encode(where))

    def etcd(self, kind: type[T]) -> T | None:
        """How it is reached."""
        text = self._read(self._etcd)
        return None if text is None else decode(kind, text, str(self._etcd))

    def forget(self) -> None:
        """From now on the machine is of no cluster."""
        try:
            self._membership.unlink(missing_ok=True)
            if self.directory.is_dir():
                _sync(self.directory)
            shutil.rmtree(self.directory, ignore_errors=True)
        except OSError as error:
            raise _refused(self._membership, error) from error

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(path, error) from error

    def _write(self, path: Path, text: bytes) -> None:
        part = path.with_name(f".{path.name}.new")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            part.rename(path)
            _sync(self.directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise _refused(path, error) from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, error: OSError) -> StoreError:
    return Unavailable(f"{path}: {error.strerror}; check the directory's rights and the disk's space")
