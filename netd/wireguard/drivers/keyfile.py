"""The file of a machine's private keys, `<data>/wireguard.key`: mode 0600, replaced in one step (rename(2))."""

import os
import stat
from pathlib import Path

from ...errors import Denied, Invalid, NetError
from .. import keys
from ..keys import Keys

NAME = "wireguard.key"


class KeyFile:
    """The keys of one machine on disk."""

    def __init__(self, data: Path, machine: str, period: float = keys.PERIOD) -> None:
        self._path = data / NAME
        self._machine = machine
        self._period = period

    def load(self, now: float) -> Keys:
        """The machine's keys; made and written when there are none. Invalid when the file is damaged or others can read
        it; Denied, NetError."""
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            found = keys.new_keys(self._machine, now, (self.seed(), self.seed()), self._period)
            self.save(found)
            return found
        except OSError as error:
            raise self._failed("read", error) from error
        with os.fdopen(handle) as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise Invalid(f"{self._path}: others may have read the keys; remove the file, new keys are made")
            try:
                return keys.read_keys(file.read(4096), self._machine, self._period)
            except (Invalid, UnicodeDecodeError) as error:
                raise Invalid(f"{self._path}: {error}; remove the file, new keys are made") from error

    def save(self, found: Keys) -> None:
        """Write the keys, wholly or not at all. Denied, NetError."""
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(found.written())
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self._path)
        except OSError as error:
            raise self._failed("write", error) from error

    def remove(self) -> None:
        """Forget the keys."""
        self._path.unlink(missing_ok=True)

    @staticmethod
    def seed() -> bytes:
        """What a key is made of."""
        return os.urandom(keys.SEED)

    def _failed(self, verb: str, error: OSError) -> NetError:
        text = f"{verb} {self._path}: {error.strerror}"
        return Denied(f"{text}; run as root") if isinstance(error, PermissionError) else NetError(text)
