"""One figure: what was measured, ours and the peer's in the same run, and the bound it must keep."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`ours` and `peer` in `unit`; `peer` is None where the bound is absolute; `need` says the bound in words."""

    what: str
    ours: float
    unit: str
    need: str
    ok: bool
    peer: float | None = None
    peer_name: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return self.ours / self.peer if self.peer else None
