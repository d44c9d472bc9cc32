"""The command line of an etcd member (etcd ≥ 3.4), from a frozen description; and what in a running one is out of date.

What etcd reads only when its data directory is new (`--initial-*`) does not count as a difference. With TLS both doors
ask for certificates, and peers must have the name that only members' certificates have; etcd reads certificate and key
anew at each handshake, so one file with both, replaced by a rename, rotates them; the CA file it reads only at start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from .names import endpoint_problem, id_problem, refuse

GIB = 1 << 30


class ClusterState(StrEnum):
    """Whether a member without data founds its cluster or joins one."""

    NEW = "new"
    EXISTING = "existing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files of a member: a `member` certificate and its key (may be one file), the bundle of CAs, and the name its
    peers' certificates must have (`certificates.peer_name`)."""

    certificate: Path
    key: Path
    ca: Path
    peer_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdConfig:
    """One member. `data` is its directory, made by etcd; `listen_*` are where it binds when that is not what it tells
    others; `compaction` in seconds keeps that much history (0: all); `quota` and `snapshot_count` as etcd's; times of
    the election in milliseconds."""

    name: str
    data: Path
    token: str
    client_urls: tuple[str, ...]
    peer_urls: tuple[str, ...]
    initial_cluster: str
    state: ClusterState = ClusterState.NEW
    listen_client_urls: tuple[str, ...] = ()
    listen_peer_urls: tuple[str, ...] = ()
    tls: Tls | None = None
    compaction: int = 3600
    quota: int = 8 * GIB
    snapshot_count: int = 10_000
    heartbeat: int = 100
    election: int = 1000

    def __post_init__(self) -> None:
        scheme = "https" if self.tls else "http"
        urls = (*self.client_urls, *self.peer_urls, *self.listen_client_urls, *self.listen_peer_urls)
        own = {f"{self.name}={url}" for url in self.peer_urls}
        lacking = sorted(own - set(self.initial_cluster.split(",")))
        refuse(
            "etcd member",
            (
                id_problem(self.name, "name"),
                None if self.data.is_absolute() else f"data directory {self.data}: give an absolute path",
                None if self.client_urls else "it has no client URL",
                None if self.peer_urls else "it has no peer URL",
                *(_url_problem(url, scheme) for url in urls),
                f"the initial cluster lacks {', '.join(lacking)}" if lacking else None,
                None if self.election >= 5 * self.heartbeat else "the election takes at least five heartbeats",
            ),
        )


def argv(config: EtcdConfig, program: str = "etcd") -> tuple[str, ...]:
    """The whole command line; logs go to standard error as JSON lines."""
    urls = (("listen-client-urls", config.listen_client_urls or config.client_urls),)
    options: list[tuple[str, str]] = [
        ("name", config.name),
        ("data-dir", str(config.data)),
        *((name, ",".join(values)) for name, values in urls),
        ("advertise-client-urls", ",".join(config.client_urls)),
        ("listen-peer-urls", ",".join(config.listen_peer_urls or config.peer_urls)),
        ("initial-advertise-peer-urls", ",".join(config.peer_urls)),
        ("initial-cluster", config.initial_cluster),
        ("initial-cluster-state", config.state),
        ("initial-cluster-token", config.token),
        ("quota-backend-bytes", str(config.quota)),
        ("snapshot-count", str(config.snapshot_count)),
        ("heartbeat-interval", str(config.heartbeat)),
        ("election-timeout", str(config.election)),
        ("pre-vote", "true"),
        ("logger", "zap"),
        ("log-outputs", "stderr"),
    ]
    if config.compaction:
        options += [("auto-compaction-mode", "periodic"), ("auto-compaction-retention", f"{config.compaction}s")]
    options += _tls_options(config.tls) if config.tls else []
    return (program, *(f"--{name}={value}" for name, value in options))


def outdated(running: Sequence[str], wanted: Sequence[str]) -> str | None:
    """Which options of a running member differ from what is wanted, in words, or None: then a restart changes it."""
    now, then = _options(running), _options(wanted)
    names = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    return f"it runs with another {', '.join(names)}" if names else None


def _options(line: Sequence[str]) -> Mapping[str, str]:
    pairs = (argument.partition("=") for argument in line[1:])
    return {name: value for name, _, value in pairs if not name.startswith("--initial-")}


def _tls_options(tls: Tls) -> list[tuple[str, str]]:
    return [
        *(("cert-file", str(tls.certificate)), ("key-file", str(tls.key)), ("trusted-ca-file", str(tls.ca))),
        ("client-cert-auth", "true"),
        *(("peer-cert-file", str(tls.certificate)), ("peer-key-file", str(tls.key))),
        ("peer-trusted-ca-file", str(tls.ca)),
        ("peer-client-cert-auth", "true"),
        ("peer-cert-allowed-hostname", tls.peer_name),
    ]


def _url_problem(url: str, scheme: str) -> str | None:
    parts = urlsplit(url)
    if parts.scheme != scheme or parts.path or parts.query:
        return f"URL {url!r}: it is {scheme}://ADDRESS:PORT"
    problem = endpoint_problem(parts.netloc)
    return f"URL {url!r}: {problem}" if problem else None
