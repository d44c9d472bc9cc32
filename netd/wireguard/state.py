"""What an interface is found to be, and what to change so that it is as its spec says.

Only what differs is changed, because a peer that is set anew loses its session. A new private key is the exception: its
peers are set anew on purpose, so that a handshake that is seen afterwards was made with the new key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .specs import PeerSpec, WireguardSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """A peer as it is; `handshake` is the Unix time of the latest one in seconds, 0 for none; bytes received and
    sent."""

    spec: PeerSpec
    handshake: float = 0.0
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The cryptographic part of an interface; `public_key` None when it has no key. Peers by public key."""

    public_key: str | None
    listen_port: int
    peers: Mapping[str, PeerState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A peer to set, or to remove (`spec` None)."""

    public_key: str
    spec: PeerSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What to tell an interface, in this order; None and empty: leave it as it is."""

    private_key: str | None = field(default=None, repr=False)
    listen_port: int | None = None
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return self.private_key is not None or self.listen_port is not None or bool(self.changes)


class Backend(Protocol):
    """One way to have a WireGuard interface; blocking, in the calling thread's namespace."""

    @property
    def kind(self) -> str:
        """The kind of its links, as the kernel names it."""
        ...

    def create(self) -> None:
        """Make the interface, which must not be there."""
        ...

    def owns(self) -> bool:
        """Whether an interface without a mark is one that was being made."""
        ...

    def read(self) -> State | None:
        """What the interface is; None when there is none or nobody behind it."""
        ...

    def write(self, what: Write) -> None:
        """Change it. Conflict when the port is taken."""
        ...

    def removed(self) -> None:
        """Called when the link is gone: see that nothing stays."""
        ...


class Device(Protocol):
    """One marked WireGuard interface."""

    def observe(self) -> WireguardSpec | None:
        """What it is; None when there is none with our mark that works."""
        ...

    def state(self) -> State | None:
        """Its peers with their handshakes and counters."""
        ...

    def apply(self, spec: WireguardSpec, private_key: str) -> None:
        """Make it, or change what differs. Idempotent. Conflict when its name or port is another's."""
        ...

    def remove(self) -> None:
        """Remove it if it is ours."""
        ...


def stays(state: State | None, spec: WireguardSpec, peer: str) -> bool:
    """Whether a peer's session goes on when the spec is applied."""
    return state is not None and state.public_key == spec.public_key and peer in state.peers


def difference(state: State, spec: WireguardSpec, private_key: str) -> Write:
    """What to write. Removals come first: an allowed address moves to whoever has it last."""
    rekeyed = state.public_key != spec.public_key
    have = {key: peer.spec for key, peer in state.peers.items()}
    want = {peer.public_key: peer for peer in spec.peers}
    gone = sorted(key for key in have if rekeyed or key not in want)
    new = [want[key] for key in sorted(want) if rekeyed or have.get(key) != want[key]]
    return Write(
        private_key=private_key if rekeyed else None,
        listen_port=spec.listen_port if state.listen_port != spec.listen_port else None,
        changes=(
            *(Change(public_key=key) for key in gone),
            *(Change(public_key=peer.public_key, spec=peer) for peer in new),
        ),
    )
