"""Join tokens: one line that is whole or refused, and a record that says who may still use it."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from hawser.store import Denied, Invalid
from hawser.store.cluster import tokens
from hawser.store.cluster.model import Role, decode, encode
from hawser.store.cluster.tokens import (
    RETENTION,
    TokenExpired,
    TokenRecord,
    TokenRevoked,
    TokenState,
    TokenUnknown,
    TokenUsed,
    TokenWrong,
)

NOW = 1_800_000_000.0
CA = "sha256:" + "ab" * 32
ENTROPY = bytes(range(21))
TOKEN, RECORD = tokens.mint(ENTROPY, cluster="c1", ca=CA, endpoints=["10.0.0.1:7443", "[fd00::1]:7443"], now=NOW)
LINE = tokens.encode(TOKEN)


def spend(record: TokenRecord | None, machine: str = "m1", key: str = "k1", now: float = NOW) -> TokenRecord:
    return tokens.spend(record, token=TOKEN.id, secret=TOKEN.secret, machine=machine, key=key, now=now)


def test_a_token_is_one_line_without_anything_to_quote() -> None:
    assert LINE.startswith(f"hawser1.{TOKEN.id}.{TOKEN.secret}.")
    assert set(LINE) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert len(LINE) < 200


@given(
    st.binary(min_size=21, max_size=21),
    st.from_regex(r"[a-z0-9]{1,32}", fullmatch=True),
    st.lists(
        st.builds("{}:{}".format, st.sampled_from(["10.0.0.1", "[fd00::1]", "a.example"]), st.integers(1, 65535)),
        min_size=1,
        max_size=5,
    ),
)
@settings(max_examples=50, derandomize=True, deadline=None)
def test_a_token_survives_its_line(entropy: bytes, cluster: str, endpoints: list[str]) -> None:
    token, record = tokens.mint(entropy, cluster=cluster, ca=CA, endpoints=endpoints, now=NOW)
    assert tokens.parse(f"  {tokens.encode(token)}\n") == token
    spent = tokens.spend(record, token=token.id, secret=token.secret, machine="m", key="k", now=NOW)
    assert spent.left == 0


@given(st.integers(0, len(LINE) - 1), st.sampled_from("aZ0-_."))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_a_line_that_was_changed_or_cut_is_refused_without_showing_the_secret(place: int, other: str) -> None:
    for text in (LINE[:place], LINE[:place] + other + LINE[place + 1 :]):
        if text == LINE:
            continue
        with pytest.raises(Invalid) as error:
            tokens.parse(text)
        assert TOKEN.secret not in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "begins with ''"),
        ("K10abc::server:x", "begins with 'K10abc::server:x', not hawser1"),
        ("hawser1.a.b", "has 3 parts, not 4"),
        (LINE[:-3], "check sum is wrong: it was cut off or changed"),
        (LINE.replace(TOKEN.id, "aaaaaaaa"), "check sum is wrong"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(text: str, problem: str) -> None:
    with pytest.raises(Invalid, match=problem.replace("(", r"\(")):
        tokens.parse(text)


def test_every_problem_of_a_token_to_be_made_is_named() -> None:
    with pytest.raises(Invalid) as error:
        tokens.mint(ENTROPY, cluster="C", ca="md5:1", endpoints=["x", "10.0.0.1:0"], now=NOW, ttl=0, uses=0)
    for part in ("lives 0 s", "can be used 0 times", "cluster id 'C'", "CA hash", "endpoint 'x'", "a port is 1-65535"):
        assert part in str(error.value)
    with pytest.raises(Invalid, match="no endpoint"):
        tokens.mint(ENTROPY, cluster="c", ca=CA, endpoints=[], now=NOW)


def test_neither_log_nor_store_sees_the_secret() -> None:
    assert TOKEN.secret not in repr(TOKEN)
    assert TOKEN.secret.encode() not in encode(RECORD)
    assert decode(TokenRecord, encode(RECORD), "k") == RECORD


def test_a_token_is_for_one_machine_unless_told_otherwise() -> None:
    spent = spend(RECORD)
    assert (RECORD.left, spent.left) == (1, 0)
    with pytest.raises(TokenUsed, match=f"token {TOKEN.id} was used up, last by machine m1: make a new one"):
        spend(spent, "m2")
    twice = spend(spend(replace(RECORD, uses=2)), "m2")
    assert [use.machine for use in twice.used] == ["m1", "m2"]
    with pytest.raises(TokenUsed):
        spend(twice, "m3")


def test_a_machine_whose_answer_was_lost_may_ask_again_with_the_same_key_only() -> None:
    spent = spend(RECORD)
    assert spend(spent, now=NOW + 10) == spent
    with pytest.raises(TokenUsed):
        spend(spent, key="k2")
    with pytest.raises(TokenExpired):
        spend(spent, now=NOW + 3600)


def test_each_refusal_has_its_own_reason() -> None:
    with pytest.raises(TokenUnknown, match="is not known"):
        spend(None)
    with pytest.raises(TokenExpired, match="expired 2 hours ago"):
        spend(RECORD, now=RECORD.expires + 7200)
    with pytest.raises(TokenRevoked, match="was revoked"):
        spend(tokens.revoke(RECORD))
    assert all(issubclass(error, Denied) for error in (TokenUnknown, TokenWrong, TokenExpired, TokenRevoked, TokenUsed))


@pytest.mark.parametrize("record", [RECORD, tokens.revoke(RECORD), replace(RECORD, expires=0.0), spend(RECORD)])
def test_who_does_not_know_the_secret_learns_nothing_of_the_token(record: TokenRecord) -> None:
    with pytest.raises(TokenWrong):
        tokens.spend(record, token=TOKEN.id, secret="a" * 26, machine="m1", key="k1", now=NOW)


def test_the_state_of_a_token() -> None:
    assert tokens.state(RECORD, NOW) is TokenState.VALID
    assert tokens.state(RECORD, NOW + 3600) is TokenState.EXPIRED
    assert tokens.state(spend(RECORD), NOW) is TokenState.USED
    assert tokens.state(tokens.revoke(RECORD), NOW) is TokenState.REVOKED
    assert RECORD.role is Role.MEMBER
    assert RECORD.forgotten == NOW + 3600 + RETENTION
