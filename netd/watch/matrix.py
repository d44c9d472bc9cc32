"""Loss and latency between all of a mesh, as a matrix to read and as a document.

A sample is what one source heard of one target: a time for every request, None for an answer that did not come in time.
Times are in seconds; shown, milliseconds.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Round trips from one to another, in the order they were asked for."""

    source: str
    target: str
    times: tuple[float | None, ...]


def packed(samples: Sequence[Sample]) -> dict[str, object]:
    """Samples in few plain values, times in whole microseconds; `unpacked` reads them."""
    names = list(dict.fromkeys(name for sample in samples for name in (sample.source, sample.target)))
    place = {name: number for number, name in enumerate(names)}
    rows = [
        [place[one.source], place[one.target], *(None if t is None else round(t * 1e6) for t in one.times)]
        for one in samples
    ]
    return {"names": names, "rows": rows}


def unpacked(plain: Mapping[str, Any]) -> list[Sample]:
    """The samples that were packed. KeyError, IndexError, TypeError."""
    names = plain["names"]
    return [
        Sample(source=names[source], target=names[target], times=tuple(t if t is None else t / 1e6 for t in times))
        for source, target, *times in plain["rows"]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One pair; times None when nothing was answered, `loss` in percent (0 when nothing was asked)."""

    sent: int
    received: int
    loss: float
    least: float | None = None
    mean: float | None = None
    most: float | None = None
    median: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Cells by (source, target), rows and columns in the order they were first seen in."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]

    @property
    def sent(self) -> int:
        """Requests of all pairs."""
        return sum(cell.sent for cell in self.cells.values())

    @property
    def received(self) -> int:
        """Answers of all pairs."""
        return sum(cell.received for cell in self.cells.values())

    @property
    def loss(self) -> float:
        """Percent without an answer."""
        return _loss(self.sent, self.received)

    def lines(self) -> Iterator[str]:
        """The table: a row a source, the median and the loss where there is one; `-` was not asked."""
        rows = [("from \\ to", *self.targets)]
        for source in self.sources:
            rows.append((source, *(_shown(self.cells.get((source, target))) for target in self.targets)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
            yield "  ".join((row[0].ljust(widths[0]), *cells)).rstrip()
        yield f"{self.sent} sent, {self.received} received, {_percent(self.loss)} lost"

    def document(self) -> dict[str, object]:
        """For JSON; times in milliseconds."""
        return {
            "sent": self.sent,
            "received": self.received,
            "loss_percent": round(self.loss, 3),
            "pairs": [
                {
                    "source": source,
                    "target": target,
                    "sent": cell.sent,
                    "received": cell.received,
                    "loss_percent": round(cell.loss, 3),
                    "min_ms": _milli(cell.least),
                    "avg_ms": _milli(cell.mean),
                    "max_ms": _milli(cell.most),
                    "p50_ms": _milli(cell.median),
                }
                for (source, target), cell in self.cells.items()
            ],
        }


def matrix(samples: Iterable[Sample]) -> Matrix:
    """The matrix of these samples; several of one pair are taken together."""
    times: dict[tuple[str, str], list[float | None]] = {}
    for sample in samples:
        times.setdefault((sample.source, sample.target), []).extend(sample.times)
    cells = {pair: _cell(found) for pair, found in times.items()}
    sources = dict.fromkeys(source for source, _ in cells)
    targets = dict.fromkeys(target for _, target in cells)
    columns = [name for name in sources if name in targets] + [name for name in targets if name not in sources]
    return Matrix(sources=tuple(sources), targets=tuple(columns), cells=cells)


def _cell(times: Sequence[float | None]) -> Cell:
    heard = [time for time in times if time is not None]
    cell = {"sent": len(times), "received": len(heard)}
    if not heard:
        return Cell(**cell, loss=_loss(len(times), 0))
    return Cell(
        **cell,
        loss=_loss(len(times), len(heard)),
        least=min(heard),
        mean=statistics.fmean(heard),
        most=max(heard),
        median=statistics.median(heard),
    )


def _loss(sent: int, received: int) -> float:
    return 100.0 * (sent - received) / sent if sent else 0.0


def _shown(cell: Cell | None) -> str:
    if cell is None or not cell.sent:
        return "-"
    if cell.median is None:
        return "lost"
    lost = f" ({_percent(cell.loss)} lost)" if cell.received < cell.sent else ""
    return f"{cell.median * 1000:.3g} ms{lost}"


def _percent(loss: float) -> str:
    """A loss that rounds to nothing or to everything still shows."""
    return f"{loss:.0f}%" if loss in (0.0, 100.0) or 1 <= loss <= 99 else f"{loss:.3g}%"


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 4)
