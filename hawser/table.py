"""Plain aligned tables for people; no colours, no boxes, so that `awk` reads them too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PS_COLUMNS = ("ID", "NAME", "TENANT", "IMAGE", "STATE", "ADDRESS", "PORTS", "COMMAND")


def render(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under upper-case headings, two spaces apart; empty cells show as `-`."""
    text = [tuple(columns), *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(row[index]) for row in text) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in text
    )


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value) or "-"
    return str(value)


def ps_rows(containers: Iterable[Mapping[str, Any]]) -> Iterable[tuple[object, ...]]:
    """One row a container of the API's listing, in the order of PS_COLUMNS."""
    for entry in containers:
        command = " ".join(entry["argv"])
        yield (
            entry["id"],
            entry["name"],
            entry["tenant"],
            entry["image"],
            state(entry),
            [address.split("/")[0] for address in entry["addresses"]],
            entry["publish"],
            command if len(command) <= 40 else command[:37] + "...",
        )


def state(entry: Mapping[str, Any]) -> str:
    """`running`, `created` or `exited(N)`."""
    code = entry.get("code")
    return f"exited({code})" if entry["state"] == "exited" and code is not None else str(entry["state"])
