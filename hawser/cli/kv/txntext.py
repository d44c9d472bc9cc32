"""etcdctl's text form of a transaction. Pure.

Three blocks with an empty line between them: compares, what is done when all of them hold, what is done otherwise;
each line one compare or one operation, written as the verbs `get`, `put` and `del` are:

    mod("key") > "0"
    <empty>
    put key "a value"
    <empty>
    get key --prefix

A compare is c|create, m|mod, val|value, ver|version or lease of a quoted key, one of = != < >, and a value, quotes
optional around numbers. A lease is hex. In double quotes a backslash begins an escape as in Go (\\n, \\xHH, \\uXXXX);
single quotes and backquotes take everything as it is. (etcdctl 3.4 documentation, "TXN"; probed.)
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hawser.store import Compare, DeleteOp, Op, PutOp, RangeOp, SortBy, Target, TxnOp

from ...faults import Fault

T = TypeVar("T")
TARGETS = {
    "c": Target.CREATE,
    "create": Target.CREATE,
    "m": Target.MOD,
    "mod": Target.MOD,
    "val": Target.VALUE,
    "value": Target.VALUE,
    "ver": Target.VERSION,
    "version": Target.VERSION,
    "lease": Target.LEASE,
}
QUOTED = r'"(?:[^"\\]|\\.)*"' + r"|`[^`]*`|'[^']*'"
COMPARE = re.compile(rf"\s*(\w+)\(\s*({QUOTED})\s*\)\s*(!=|=|<|>)\s*({QUOTED}|\S+)\s*")
WORD = re.compile(rf"\s*(?:({QUOTED})(?=\s|$)|(\S+))")
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
PLAIN = {"n": b"\n", "t": b"\t", "r": b"\r", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}
SORTS = {"KEY": SortBy.KEY, "VERSION": SortBy.VERSION, "CREATE": SortBy.CREATE, "MODIFY": SortBy.MOD}
SORTS |= {"MOD": SortBy.MOD, "VALUE": SortBy.VALUE}


def parse(text: str) -> TxnOp[bytes]:
    """A transaction. Fault with every line that is wrong."""
    blocks = _blocks(text)
    problems = list[str]()
    compares = tuple(_each(blocks[0], parse_compare, problems))
    then, otherwise = (tuple(_each(block, parse_op, problems)) for block in blocks[1:])
    if problems:
        raise Fault("; ".join(problems), "usage")
    return TxnOp(compares, then, otherwise)


Numbered = tuple[int, str]


def _blocks(text: str) -> tuple[list[Numbered], list[Numbered], list[Numbered]]:
    """The lines of the three blocks; empty lines after them are nothing, anything else is a mistake."""
    blocks: list[list[Numbered]] = [[]]
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            blocks[-1].append((number, line))
        else:
            blocks.append([])
    for extra in blocks[3:]:
        if extra:
            raise Fault(f"line {extra[0][0]}: a transaction has three blocks; this would be another", "usage")
    blocks += [[], [], []]
    return blocks[0], blocks[1], blocks[2]


def _each(lines: Sequence[Numbered], parse_line: Callable[[str], T], problems: list[str]) -> Iterator[T]:
    for number, line in lines:
        try:
            yield parse_line(line)
        except ValueError as error:
            problems.append(f"line {number}: {error}")


def parse_compare(line: str) -> Compare[bytes]:
    """ValueError."""
    found = COMPARE.fullmatch(line)
    if found is None:
        raise ValueError(f'{line.strip()!r} is no compare; write such as mod("key") > "0"')
    word, key, sign, text = found.groups()
    target = TARGETS.get(word.lower())
    if target is None:
        raise ValueError(f"{word} is nothing to compare; it is create, mod, value, version or lease")
    value = unquoted(text)
    if target is Target.VALUE:
        return Compare(unquoted(key), target, sign, value)
    try:
        number = int(value, 16 if target is Target.LEASE else 10)
    except ValueError:
        what = "the hex id of a lease" if target is Target.LEASE else "a number"
        raise ValueError(f"{target} is compared with {what}, not with {text}") from None
    return Compare(unquoted(key), target, sign, number)


def unquoted(text: str) -> bytes:
    """What a word means. ValueError for an escape that is none."""
    if text[:1] not in "\"'`" or len(text) < 2:
        return os.fsencode(text)
    if text[0] != '"':
        return os.fsencode(text[1:-1])
    parts, at = list[bytes](), 1
    for found in ESCAPE.finditer(text, 1, len(text) - 1):
        parts += [os.fsencode(text[at : found.start()]), _escaped(found[1])]
        at = found.end()
    return b"".join((*parts, os.fsencode(text[at:-1])))


def _escaped(code: str) -> bytes:
    if code[0] in "uU" and len(code) > 1:
        return chr(int(code[1:], 16)).encode()
    if code[0] == "x" and len(code) == 3:
        return bytes((int(code[1:], 16),))
    if len(code) == 3:
        return bytes((int(code, 8) & 255,))
    if code in "\"\\'":
        return code.encode()
    if code not in PLAIN:
        raise ValueError(f"\\{code} is no escape; a backslash itself is \\\\")
    return PLAIN[code]


def words_of(line: str) -> list[tuple[bytes, bool]]:
    """The words of a line, and whether each was quoted. ValueError."""
    found, at, line = list[tuple[bytes, bool]](), 0, line.rstrip()
    while at < len(line):
        match = WORD.match(line, at)
        assert match is not None
        text = match[1] or match[2]
        if not match[1] and text[0] in "\"'`":
            raise ValueError(f"the quotes do not match in {line.strip()!r}")
        found.append((unquoted(text), bool(match[1])))
        at = match.end()
    return found


def parse_op(line: str) -> Op[bytes]:
    """ValueError."""
    (verb, _), *rest = words_of(line)
    flags, arguments = _split(rest)
    match verb.decode(errors="replace"):
        case "put":
            op: Op[bytes] = _put(arguments, flags)
        case "get":
            op = _get(arguments, flags)
        case "del":
            op = _delete(arguments, flags)
        case other:
            raise ValueError(f"{other!r} is no operation; it is put, get or del")
    if flags:
        raise ValueError(f"{verb.decode()} has no option {next(iter(flags))} here")
    return op


Flags = dict[str, str | None]
VALUED = frozenset({"--lease", "--limit", "--rev", "--order", "--sort-by", "--range"})


def _split(words: Sequence[tuple[bytes, bool]]) -> tuple[Flags, list[bytes]]:
    """Options and arguments; what is quoted, or stands after `--`, is an argument."""
    flags, arguments, rest = Flags(), list[bytes](), iter(words)
    for word, quoted in rest:
        if quoted or not word.startswith(b"--"):
            arguments.append(word)
        elif word == b"--":
            arguments += [each for each, _ in rest]
        else:
            name, equals, value = os.fsdecode(word).partition("=")
            if name in VALUED and not equals:
                value = os.fsdecode(next(rest, (b"", False))[0])
            if name in VALUED and not value:
                raise ValueError(f"{name} needs a value")
            flags[name] = value if name in VALUED or equals else None
    return flags, arguments


def _flag(flags: Flags, name: str) -> bool:
    return name in flags and flags.pop(name) in (None, "true")


def _number(flags: Flags, name: str, base: int = 10) -> int:
    text = flags.pop(name, None)
    try:
        return int(text or "0", base)
    except ValueError:
        raise ValueError(f"{name} {text} is no number") from None


def _put(arguments: list[bytes], flags: Flags) -> PutOp[bytes]:
    keeps = _flag(flags, "--ignore-value")
    if len(arguments) != (1 if keeps else 2):
        raise ValueError("put needs a key and a value" if not keeps else "put --ignore-value needs a key and no value")
    return PutOp(
        arguments[0],
        b"" if keeps else arguments[1],
        _number(flags, "--lease", 16),
        _flag(flags, "--prev-kv"),
        keeps,
        _flag(flags, "--ignore-lease"),
    )


def _range(verb: str, arguments: list[bytes], flags: Flags) -> tuple[bytes, bytes | None, bool]:
    prefix, from_key = _flag(flags, "--prefix"), _flag(flags, "--from-key")
    until = flags.pop("--range", None)
    if until is not None:
        arguments = [*arguments, os.fsencode(until)]
    if not 1 <= len(arguments) <= 2 or (prefix or from_key) + len(arguments) > 2 or (prefix and from_key):
        raise ValueError(f"{verb} needs a key, and at most one of an end, --prefix and --from-key")
    if from_key:
        return arguments[0], b"\0", False
    return arguments[0], (arguments[1] or b"\0") if len(arguments) == 2 else None, prefix


def _get(arguments: list[bytes], flags: Flags) -> RangeOp[bytes]:
    key, end, prefix = _range("get", arguments, flags)
    order, sort = flags.pop("--order", None), flags.pop("--sort-by", None)
    if order is not None and order.upper() not in ("ASCEND", "DESCEND"):
        raise ValueError(f"--order {order} is neither ASCEND nor DESCEND")
    if sort is not None and sort.upper() not in SORTS:
        raise ValueError(f"--sort-by {sort} is none of {', '.join(SORTS)}")
    return RangeOp(
        key,
        end,
        prefix,
        limit=_number(flags, "--limit"),
        revision=_number(flags, "--rev"),
        keys_only=_flag(flags, "--keys-only"),
        count_only=_flag(flags, "--count-only"),
        sort=None if sort is None else SORTS[sort.upper()],
        descending=order is not None and order.upper() == "DESCEND",
    )


def _delete(arguments: list[bytes], flags: Flags) -> DeleteOp[bytes]:
    return DeleteOp(*_range("del", arguments, flags), prev_kv=_flag(flags, "--prev-kv"))
