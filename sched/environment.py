"""Environment files (systemd.exec(5), EnvironmentFile=): `KEY=VALUE` lines, `#` and `;` comments, quotes as in a shell.

Within double quotes a backslash escapes `"`, `\\`, `` ` `` and `$`; within single quotes nothing is special; outside a
backslash takes the next character as it is, and one before a line break joins the lines. Lines that are no assignment
are passed over, as systemd does.
"""

import re

_KEY = re.compile(r"[ \t\r\n]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")


def parse(text: str) -> dict[str, str]:
    """The variables of a file; the last of a name counts."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _KEY.match(text, at)
        if match is None:
            end = text.find("\n", at)
            at = len(text) if end < 0 else end + 1
            continue
        found[match[1]], at = _value(text, match.end())
    return found


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that begins at `at`, and where its line ends."""
    out: list[str] = []
    solid = 0
    quote = ""
    while at < len(text):
        char = text[at]
        at += 1
        if not quote and char in "\r\n":
            break
        if char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif char == "\\" and quote != "'" and at < len(text):
            following = text[at]
            at += 1
            if following != "\n":
                out += [following] if not quote or following in '"\\`$' else ["\\", following]
        else:
            out.append(char)
            if not quote and char in " \t":
                if not solid and len(out) == 1:
                    out.clear()
                continue
        solid = len(out)
    return "".join(out[:solid]), at
