"""What `pingall` found: who reached whom."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Every ordered pair of hosts was pinged once; `lost` are the pairs without an answer. `seconds`: of all."""

    hosts: tuple[str, ...]
    lost: frozenset[tuple[str, str]]
    seconds: float

    @property
    def sent(self) -> int:
        return len(self.hosts) * (len(self.hosts) - 1)

    @property
    def received(self) -> int:
        return self.sent - len(self.lost)

    @property
    def loss(self) -> float:
        """Percent without an answer, 0 to 100."""
        return 100.0 * len(self.lost) / self.sent if self.sent else 0.0

    def summary(self) -> str:
        """Mininet's last line; a loss that rounds to nothing still shows."""
        percent = f"{self.loss:.0f}" if self.loss in (0.0, 100.0) or 1 <= self.loss <= 99 else f"{self.loss:.3g}"
        return f"*** Results: {percent}% dropped ({self.received}/{self.sent} received)"

    def lines(self) -> Iterator[str]:
        """Mininet's matrix: one line a host, X for those it did not reach."""
        for source in self.hosts:
            reached = ("X" if (source, other) in self.lost else other for other in self.hosts if other != source)
            yield f"{source} -> {' '.join(reached)}"

    def document(self) -> dict[str, object]:
        """For `--json`."""
        lost = [
            list(pair) for pair in sorted(self.lost, key=lambda p: (self.hosts.index(p[0]), self.hosts.index(p[1])))
        ]
        return {
            "sent": self.sent,
            "received": self.received,
            "loss_percent": self.loss,
            "seconds": round(self.seconds, 3),
            "lost": lost,
        }
