"""Names of units: `web.service`, the template `web@.service` and its instance `web@1.service` (systemd.unit(5))."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import Invalid

MAX_NAME = 255
SUFFIX = ".service"
_CHARS = re.compile(r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\@-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Name:
    """The parts of a unit's name; `instance` is None for a plain unit and empty for a template."""

    full: str
    prefix: str
    instance: str | None

    @property
    def is_template(self) -> bool:
        return self.instance == ""

    @property
    def template(self) -> str | None:
        """The name of the template an instance comes from."""
        return f"{self.prefix}@{SUFFIX}" if self.instance else None

    def specifiers(self) -> Mapping[str, str]:
        """What the name alone says: %n %N %p %i."""
        stem = self.full.removesuffix(SUFFIX)
        return {"n": self.full, "N": stem, "p": self.prefix, "i": self.instance or ""}


def parse_name(name: str) -> Name:
    """Invalid for what is no service unit's name."""
    if len(name) > MAX_NAME:
        raise Invalid(f"unit name of {len(name)} characters; use at most {MAX_NAME}")
    if not name.endswith(SUFFIX) or name == SUFFIX:
        raise Invalid(f"unit name {name!r} does not end in {SUFFIX}; other unit types are not run")
    stem = name.removesuffix(SUFFIX)
    if not _CHARS.fullmatch(stem):
        raise Invalid(f"unit name {name!r}: use letters, digits, ':', '-', '_', '.', '\\' and one '@' after the first")
    prefix, at, instance = stem.partition("@")
    return Name(name, prefix, instance if at else None)
