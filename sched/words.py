"""Words of a value: quotes, escapes, specifiers and variables, as systemd reads them.

Quotes may stand anywhere and are removed; backslash escapes are C's (systemd.syntax(7)). Specifiers (`%n`) are replaced
once, when the unit is loaded (systemd.unit(5)); variables (`$X`, `${X}`) when a command is about to run
(systemd.service(5), "Command lines"): a word that is `$X` becomes zero or more words, `${X}` stays within its word,
`$$` is a dollar sign.
"""

import re
from collections.abc import Mapping, Sequence

BLANK = " \t\n\r"
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_PLAIN |= {"\\": "\\", '"': '"', "'": "'"}
_NUMERIC = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}
_SPECIFIER = re.compile(r"%(.?)", re.DOTALL)
_BRACED = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_WHOLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_FREE = re.compile(r"""[^"'\\ \t\n\r]+""")


class Malformed(ValueError):
    """Why a value cannot be read."""


def split(value: str) -> list[str]:
    """The words of a value. Malformed: a quote left open, an unknown escape."""
    return [word for word, _ in scan(value)]


def scan(value: str) -> list[tuple[str, bool]]:
    """Words, and whether each was written bare (neither quote nor escape in it)."""
    words: list[tuple[str, bool]] = []
    at = 0
    while True:
        while at < len(value) and value[at] in BLANK:
            at += 1
        if at == len(value):
            return words
        if value.startswith("\\;", at) and value[at + 2 : at + 3] in ("", *BLANK):
            words.append((";", False))
            at += 2
            continue
        word, bare, at = _word(value, at)
        words.append((word, bare))


def _word(value: str, at: int) -> tuple[str, bool, int]:
    parts: list[str] = []
    bare, quote = True, ""
    while at < len(value):
        char = value[at]
        if quote and char == quote:
            quote, at = "", at + 1
        elif char == "\\":
            text, at = _escape(value, at + 1)
            parts.append(text)
            bare = False
        elif not quote and char in "\"'":
            quote, bare, at = char, False, at + 1
        elif not quote and char in BLANK:
            break
        else:
            end = at + 1
            if not quote and (match := _FREE.match(value, at)):
                end = match.end()
            parts.append(value[at:end])
            at = end
    if quote:
        raise Malformed(f"a {quote} is never closed")
    return "".join(parts), bare, at


def _escape(value: str, at: int) -> tuple[str, int]:
    """The character escaped at `at` (after the backslash), and where it ends."""
    if at == len(value):
        raise Malformed("a backslash at the end")
    char = value[at]
    if char in _PLAIN:
        return _PLAIN[char], at + 1
    length, base = _NUMERIC.get(char, (3, 8))
    begin = at + (char in _NUMERIC)
    digits = value[begin : begin + length]
    allowed = "01234567" if base == 8 else "0123456789abcdefABCDEF"
    if len(digits) < length or any(digit not in allowed for digit in digits):
        raise Malformed(f"unknown escape \\{char}")
    code = int(digits, base)
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF or (base == 8 and code > 255):
        raise Malformed(f"escape \\{char if base == 16 else ''}{digits} is no character")
    return chr(code), begin + length


def quote(word: str) -> str:
    """A word written so that `split` reads it back."""
    if word and word != ";" and re.fullmatch(r"[\w@%+=:,./$-]+", word, re.ASCII):
        return word
    special = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    return '"' + "".join(special.get(char, char) for char in word) + '"'


def specify(value: str, specifiers: Mapping[str, str], *, known: str = "") -> str:
    """Replace specifiers. One in `known` without a value stays as written; Malformed for any other."""

    def replace(match: "re.Match[str]") -> str:
        letter = match[1]
        if letter == "%":
            return "%"
        if letter in specifiers:
            return specifiers[letter]
        if letter and letter in known:
            return match[0]
        raise Malformed(f"specifier %{letter} is not supported; write %% for a percent sign")

    return _SPECIFIER.sub(replace, value) if "%" in value else value


def expand(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Replace variables; unknown ones are empty."""
    result: list[str] = []
    for word in argv:
        if match := _WHOLE.fullmatch(word):
            result += _fields(environment.get(match[1], ""))
        else:
            result.append(_BRACED.sub(lambda m: environment.get(m[1], "") if m[1] else "$", word))
    return tuple(result)


def _fields(value: str) -> list[str]:
    try:
        return split(value)
    except Malformed:
        return value.split()
