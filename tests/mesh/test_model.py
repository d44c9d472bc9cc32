"""Announcements: what is accepted, what is refused and how it is said, and that nothing is lost on the way."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.mesh.errors import Invalid
from hawser.mesh.model import (
    Announcement,
    Check,
    CheckKind,
    Instance,
    decode_instance,
    encode_instance,
    format_announcement,
    instance_of,
    parse_announcement,
    parse_check,
)

from .support import announcement

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
CHECKS = st.one_of(
    st.just(Check()),
    st.just(Check(kind=CheckKind.TTL)),
    st.builds(lambda path: Check(kind=CheckKind.HTTP, path=f"/{path}"), st.from_regex(r"[!-~]{0,9}", fullmatch=True)),
    st.builds(lambda words: Check(kind=CheckKind.EXEC, command=tuple(words)), st.lists(WORDS, min_size=1, max_size=3)),
)
ADDRESSES = st.sampled_from(["10.1.2.3", "192.168.7.1", "fd00::7", "2001:db8::1"])


@st.composite
def announcements(draw: st.DrawFn) -> Announcement:
    spec = {"tenant": draw(LABELS), "service": draw(LABELS), "id": draw(LABELS), "port": draw(st.integers(1, 65535))}
    spec["addresses"] = draw(st.lists(ADDRESSES, min_size=1, unique=True))
    spec["labels"] = draw(st.dictionaries(LABELS, WORDS, max_size=2))
    spec["check"] = str(draw(CHECKS))
    spec["timeout"], spec["rise"], spec["fall"] = draw(st.floats(0.01, 60)), draw(st.integers(1, 9)), 3
    return parse_announcement(spec)


@given(announcements())
@settings(max_examples=60)
def test_parse_undoes_format(one: Announcement) -> None:
    assert parse_announcement(format_announcement(one)) == one


@given(announcements(), st.booleans(), WORDS)
@settings(max_examples=40)
def test_decode_undoes_encode(one: Announcement, healthy: bool, reason: str) -> None:
    record = instance_of(one, "m1", healthy=healthy, reason=reason)
    assert decode_instance(encode_instance(record)) == record
    assert record.announcement == one


@given(CHECKS)
@settings(max_examples=60)
def test_a_check_is_what_its_text_says(check: Check) -> None:
    assert parse_check(str(check)) == check


def test_a_command_is_split_as_a_shell_splits() -> None:
    assert parse_check("exec:pg_isready -h 'my host'").command == ("pg_isready", "-h", "my host")


@pytest.mark.parametrize(
    "text", ["", "TCP", "tcp:", "tcp:80", "http", "http:", "http:health", "http:/a b", "http:/\r\nX", "ttl:5", "exec:",
             "exec:'", "exec:''", "exec", "udp", None, 3]
)  # fmt: skip
def test_a_check_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(Invalid, match="check"):
        parse_check(text)


def test_every_problem_is_named_at_once() -> None:
    spec = {
        "tenant": "Acme", "service": "a_b", "id": "-", "addresses": ["10.0.0.300", "0.0.0.0"], "port": 0,
        "check": "icmp", "interval": float("nan"), "ttl": "long", "labels": {"": 1}, "colour": "red",
    }  # fmt: skip
    with pytest.raises(Invalid) as failure:
        parse_announcement(spec)
    message = str(failure.value)
    assert "\n" not in message
    for word in ("Acme", "a_b", "id '-'", "10.0.0.300", "0.0.0.0", "port 0", "icmp", "interval nan", "ttl 'long'",
                 "labels: ''", "colour: no such field"):  # fmt: skip
        assert word in message
    assert message == "announcement: " + "; ".join(failure.value.problems)
    assert {problem.split()[0].rstrip(":") for problem in failure.value.problems} == spec.keys()


@pytest.mark.parametrize(
    "change",
    [{"port": True}, {"port": 65536}, {"addresses": []}, {"addresses": "10.0.0.1"}, {"addresses": ["fe80::1%eth0"]},
     {"addresses": ["224.0.0.1"]}, {"service": "x" * 63}, {"ttl": 0.5}, {"interval": True}, {"labels": ["a"]},
     {"timeout": 0}, {"rise": 0}],
)  # fmt: skip
def test_nonsense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        announcement(**change)


def test_an_id_is_made_from_address_and_port() -> None:
    assert announcement(id=None, addresses=["10.1.2.3"]).id == "10-1-2-3-80"
    assert announcement(id=None, addresses=["fd00::1"]).id == "fd000000000000000000000000000001-80"


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"[]", b"{}", b"3", b'{"machine":"m"}', b"[" * 5000, b'{"port":1e999}']
)
def test_a_record_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(Invalid):
        decode_instance(value)


def test_an_instance_tells_its_machine_and_health() -> None:
    record: Instance = instance_of(announcement(), "m7", healthy=False, reason="refused")
    assert (record.key, record.machine, record.healthy, record.reason) == ("acme/web/1", "m7", False, "refused")
