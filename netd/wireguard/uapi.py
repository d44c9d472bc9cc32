"""The configuration protocol of userspace WireGuard, as text (wireguard.com/xplatform).

Lines of `key=value`, keys in hexadecimal; an empty line ends a request and an answer, `errno=0` says it was done.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import Invalid, NetError
from .keys import decode, public_of
from .specs import PeerSpec
from .state import Change, PeerState, State, Write

GET = "get=1\n\n"


def request(what: Write) -> str:
    """The text that changes an interface."""
    lines = ["set=1"]
    if what.private_key is not None:
        lines.append(f"private_key={decode(what.private_key).hex()}")
    if what.listen_port is not None:
        lines.append(f"listen_port={what.listen_port}")
    for change in what.changes:
        lines += _peer(change)
    return "\n".join(lines) + "\n\n"


def _peer(change: Change) -> Iterator[str]:
    yield f"public_key={decode(change.public_key).hex()}"
    if change.spec is None:
        yield "remove=true"
        return
    yield f"endpoint={change.spec.endpoint}"
    yield "replace_allowed_ips=true"
    yield from (f"allowed_ip={allowed}" for allowed in change.spec.allowed_ips)
    yield f"persistent_keepalive_interval={change.spec.keepalive}"


@dataclass(slots=True)
class _Peer:
    key: str
    values: dict[str, str] = field(default_factory=dict)
    allowed: list[str] = field(default_factory=list)

    def state(self) -> PeerState:
        number = {name: int(value) for name, value in self.values.items() if value.isdecimal()}
        return PeerState(
            spec=PeerSpec(
                public_key=self.key,
                endpoint=self.values.get("endpoint", ""),
                allowed_ips=tuple(self.allowed),
                keepalive=number.get("persistent_keepalive_interval", 0),
            ),
            handshake=number.get("last_handshake_time_sec", 0) + number.get("last_handshake_time_nsec", 0) / 1e9,
            received=number.get("rx_bytes", 0),
            sent=number.get("tx_bytes", 0),
        )


def answer(text: str) -> State:
    """What an interface says it is. NetError when it says something else, or `errno` is not 0."""
    device: dict[str, str] = {}
    peers: list[_Peer] = []
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "public_key":
            peers.append(_Peer(key=_base64(value)))
        elif name == "allowed_ip" and peers:
            peers[-1].allowed.append(value)
        elif name:
            (peers[-1].values if peers and name != "errno" else device)[name] = value
    if device.get("errno") != "0":
        raise NetError(f"wireguard-go answers with error {device.get('errno', 'nothing')!r}")
    private = device.get("private_key")
    port = device.get("listen_port", "0")
    return State(
        public_key=public_of(_base64(private)) if private and private.strip("0") else None,
        listen_port=int(port) if port.isdecimal() else 0,
        peers={peer.key: peer.state() for peer in peers},
    )


def error_of(text: str) -> int:
    """The errno of an answer, positive; 0 when it was done. NetError when the answer has none."""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "errno" and value.lstrip("-").isdecimal():
            return abs(int(value))
    raise NetError("wireguard-go went away before it answered")


def _base64(text: str) -> str:
    try:
        key = b64encode(bytes.fromhex(text)).decode()
        decode(key)
    except (ValueError, Invalid) as error:
        raise NetError("wireguard-go answers with a key that is none") from error
    return key
