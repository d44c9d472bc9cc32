"""The keys of one machine, and when they change.

Time is cut into epochs of one period of Unix time, the same for every machine. In epoch n the key of slot n mod 2 is
changed early (a machine's `spread` says when, so that not all change at once), and traffic moves into that slot in the
middle of the epoch. So a slot's key is changed only while nobody sends through the slot, machines' clocks may differ by
a quarter of a period, and a key lives for two periods. A change that was missed (the machine was off) waits for the
slot's next epoch, or it would cut sessions. Curve25519 (RFC 7748), keys in base64 as wg(8) writes them.
"""

import binascii
import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import Invalid

HOUR = 3600.0
PERIOD = 12 * HOUR
SEED = 32
FIRST, LAST, MOVE = 1 / 8, 3 / 8, 1 / 2  # of an epoch: the last spread, the last change, where traffic moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A private key (base64), never printed, and the epoch it was made for."""

    private: str = field(repr=False)
    epoch: int

    @property
    def public(self) -> str:
        """The public key, base64."""
        return public_of(self.private)


def key_of(seed: bytes, epoch: int) -> Key:
    """A key of 32 random bytes."""
    if len(seed) != SEED:
        raise Invalid(f"a key is made of {SEED} random bytes, not {len(seed)}")
    octets = bytearray(seed)  # clamped as `wg genkey` does (RFC 7748, section 5)
    octets[0] &= 248
    octets[31] = octets[31] & 127 | 64
    return Key(private=b64encode(octets).decode(), epoch=epoch)


def decode(text: str) -> bytes:
    """The 32 bytes of a key in base64. Invalid."""
    try:
        octets = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != SEED or b64encode(octets).decode() != text or not any(octets):
        raise Invalid("not a WireGuard key: 32 bytes in base64 are needed")
    return octets


def public_of(private: str) -> str:
    """The public key of a private one, both base64. Invalid."""
    return b64encode(X25519PrivateKey.from_private_bytes(decode(private)).public_key().public_bytes_raw()).decode()


def spread_of(machine: str) -> float:
    """When in the time for changes a machine changes its keys: 0 to 1."""
    return int.from_bytes(hashlib.sha256(f"rotation/{machine}".encode()).digest()[:4], "big") / (1 << 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A machine's key of each slot. `now` is Unix time in seconds, `period` the length of an epoch in seconds."""

    slots: tuple[Key, Key]
    period: float = PERIOD
    spread: float = 0.0

    @property
    def public(self) -> str:
        """What the machine announces: the public keys of slots 0 and 1, with a comma between."""
        return ",".join(key.public for key in self.slots)

    def preferred(self, now: float) -> int:
        """The slot that traffic goes through when both work."""
        return int(now / self.period - MOVE) % 2

    def due(self, now: float) -> int | None:
        """The slot whose key is to change now, or None."""
        epoch = int(now // self.period)
        late = now / self.period - epoch
        slot = epoch % 2
        if self.slots[slot].epoch == epoch or not self.spread * FIRST <= late < LAST:
            return None
        return slot

    def rotate(self, now: float, seed: bytes) -> "Keys":
        """With the due key changed; the same when none is due."""
        slot = self.due(now)
        if slot is None:
            return self
        key = key_of(seed, int(now // self.period))
        return replace(self, slots=(key, self.slots[1]) if slot == 0 else (self.slots[0], key))

    def deadline(self, now: float) -> float:
        """When to look again: now when a key is due, else the next change or move."""
        if self.due(now) is not None:
            return now
        epoch = int(now // self.period)
        change = self.spread * FIRST
        times = [(epoch + change), (epoch + MOVE), (epoch + 1 + change)]
        return min(time * self.period for time in times if time * self.period > now)

    def written(self) -> str:
        """The text of a key file: a line for each slot, its epoch and private key."""
        return "".join(f"{key.epoch} {key.private}\n" for key in self.slots)


def new_keys(machine: str, now: float, seeds: tuple[bytes, bytes], period: float = PERIOD) -> Keys:
    """The first keys of a machine: good for the epoch that is, and the one before, so that none is due at once."""
    _check(period)
    epoch = int(now // period)
    first = key_of(seeds[0], epoch - epoch % 2)
    second = key_of(seeds[1], epoch - 1 + epoch % 2)
    return Keys(slots=(first, second), period=period, spread=spread_of(machine))


def read_keys(text: str, machine: str, period: float = PERIOD) -> Keys:
    """The keys of a key file. Invalid; the message does not repeat what the file says."""
    _check(period)
    lines = [line.split(" ") for line in text.splitlines()]
    if len(lines) != 2 or any(len(line) != 2 or not line[0].lstrip("-").isdecimal() for line in lines):
        raise Invalid("not a file of WireGuard keys: two lines of an epoch and a key are needed")
    for _, private in lines:
        decode(private)
    first, second = (Key(private=private, epoch=int(epoch)) for epoch, private in lines)
    return Keys(slots=(first, second), period=period, spread=spread_of(machine))


def _check(period: float) -> None:
    if not period >= 1:
        raise Invalid(f"keys cannot change every {period:g} s; choose an hour or more")
