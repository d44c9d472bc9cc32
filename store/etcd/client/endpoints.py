"""Where etcd is, and which endpoint is next. Pure: the clock and the dice are arguments.

A client stays with the endpoint that works (its first is drawn, so that many clients spread) and moves on when it
fails; one that failed rests, longer each time up to a second, shortened by chance so that clients do not come back all
at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...errors import Invalid
from ...reconcile import Backoff

REST = Backoff(base=0.05, cap=1.0)
PORT = 2379


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One member's client address: a host and a port, or a unix socket's `path`; `secure` is TLS."""

    url: str
    host: str = ""
    port: int = PORT
    path: str = ""
    secure: bool = False

    def __str__(self) -> str:
        return self.url

    @property
    def netloc(self) -> str:
        """host:port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(urls: str | Iterable[str], *, secure: bool = False) -> tuple[Endpoint, ...]:
    """Endpoints of a list, or of text with commas: `http://host:port`, `https://…`, `unix:///path`, and
    `etcd://host:port,host:port` or bare `host:port`, which are TLS where `secure`. Invalid."""
    given = urls.split(",") if isinstance(urls, str) else list(urls)
    found = tuple(dict.fromkeys(_parse(url.strip(), secure) for url in given if url.strip()))
    if not found:
        raise Invalid("no endpoint of etcd is given; give one, such as http://127.0.0.1:2379")
    return found


def _parse(url: str, secure: bool) -> Endpoint:
    text = url.removeprefix("etcd://")
    if "://" not in text:
        text = f"{'https' if secure else 'http'}://{text}"
    parts = urlsplit(text)
    wrong = Invalid(f"{url} is no endpoint of etcd; give http://HOST:PORT, https://HOST:PORT or unix:///PATH")
    if parts.scheme == "unix":
        if not parts.path:
            raise wrong
        return Endpoint(url=text, path=parts.path)
    try:
        port = parts.port or PORT
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise wrong
    plain = Endpoint(url="", host=parts.hostname, port=port)
    return Endpoint(
        url=f"{parts.scheme}://{plain.netloc}", host=parts.hostname, port=port, secure=parts.scheme == "https"
    )


@dataclass(slots=True)
class _Record:
    failures: int = 0
    rests_until: float = 0.0
    reason: str = ""
    final: bool = False


class Roster:
    """Which endpoint to use now, and what is wrong with the others. `chance` gives numbers in [0, 1)."""

    def __init__(self, endpoints: Sequence[Endpoint], chance: Callable[[], float]) -> None:
        self.endpoints = tuple(endpoints)
        self._records = {endpoint: _Record() for endpoint in self.endpoints}
        self._chance = chance
        self._current = int(chance() * len(self.endpoints))

    def pick(self, now: float) -> tuple[Endpoint, float]:
        """The endpoint to use, and the seconds to wait before."""
        count = len(self.endpoints)
        order = [self.endpoints[(self._current + step) % count] for step in range(count)]
        best = min(order, key=lambda each: max(self._records[each].rests_until, now))
        return best, max(0.0, self._records[best].rests_until - now)

    def worked(self, endpoint: Endpoint) -> None:
        """It answered: stay with it. What is no endpoint any more is let go."""
        record = self._records.get(endpoint)
        if record is None:
            return
        if record.failures or self.endpoints[self._current] != endpoint:
            self._records[endpoint] = _Record()
            self._current = self.endpoints.index(endpoint)

    def failed(self, endpoint: Endpoint, now: float, reason: str, *, final: bool = False) -> None:
        """It did not answer, or not as it should: the next one's turn."""
        record = self._records.get(endpoint)
        if record is None:
            return
        failures = record.failures + 1
        self._records[endpoint] = _Record(failures, now + REST.delay(failures, self._chance()), reason, final)
        if self.endpoints[self._current] == endpoint:
            self._current = (self._current + 1) % len(self.endpoints)

    def hopeless(self) -> bool:
        """Whether no endpoint is worth another try."""
        return all(record.final for record in self._records.values())

    def story(self) -> str:
        """One line: every endpoint, and what its last failure was."""
        told = (f"{each} ({record.reason})" if record.reason else str(each) for each, record in self._records.items())
        return ", ".join(told)
