"""Who the client says it is and whom it believes: certificates as files or as PEM. Reading them is the transports'."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """`ca` signs the servers' certificates (None: the system's); `cert` and `key` are the client's own, if it has any.
    `server_name` is what the servers' certificates must be for, when it is not the endpoint's host."""

    ca: Path | bytes | None = None
    cert: Path | bytes | None = None
    key: Path | bytes | None = None
    server_name: str | None = None
