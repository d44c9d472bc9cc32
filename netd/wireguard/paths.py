"""Through which slot each machine is sent to.

A slot counts for a machine while the latest handshake there is no older than a session may be (REJECT_AFTER_TIME,
wireguard.com/protocol); keepalives make one every two minutes also where nothing else is sent. The slot of the keys'
epoch is taken when it counts, else the other, else nothing changes. The slot that is not taken stays behind it with a
worse metric, so that the kernel itself goes over when an interface vanishes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

SESSION = 180.0
BEST, SPARE = 10, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of the way to one machine: by slot, the latest handshake's Unix time in seconds (0: none in this
    session), or None where it has no such slot; `current` is the slot it is sent to through now."""

    handshakes: tuple[float | None, float | None]
    current: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class Path:
    """A route to an inner address through a slot; lower metrics are preferred."""

    target: IPv6Address
    slot: int
    metric: int


def works(handshake: float | None, now: float) -> bool:
    """Whether a session is alive; one from the future (the clock was set back) is."""
    return bool(handshake) and now - (handshake or 0.0) < SESSION


def choose(evidence: Evidence, preferred: int, now: float) -> int | None:
    """The slot to send through; None when the machine has none."""
    slots = [slot for slot in (preferred, 1 - preferred) if evidence.handshakes[slot] is not None]
    for slot in slots:
        if works(evidence.handshakes[slot], now):
            return slot
    if evidence.current in slots:
        return evidence.current
    return slots[0] if slots else None


def paths(evidence: Mapping[IPv6Address, Evidence], preferred: int, now: float) -> frozenset[Path]:
    """Every route wanted."""
    found: set[Path] = set()
    for target, known in evidence.items():
        best = choose(known, preferred, now)
        if best is not None:
            found.add(Path(target, best, BEST))
            if known.handshakes[1 - best] is not None:
                found.add(Path(target, 1 - best, SPARE))
    return frozenset(found)


def in_use(evidence: Mapping[IPv6Address, Evidence], slot: int, now: float) -> bool:
    """Whether somebody is sent to through a slot, whom a change of its key would cut off."""
    return any(known.current == slot and works(known.handshakes[slot], now) for known in evidence.values())
