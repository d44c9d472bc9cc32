"""Simple tokens by a clock that the test turns."""

import pytest

from hawser.store.auth import (
    ROOT,
    AuthState,
    Identity,
    InvalidToken,
    SimpleTokens,
    change,
    identify,
)

STATE = change.enable(change.grant_role(change.add_user(change.add_user(AuthState(), ROOT, "1"), "u", "2"), ROOT, ROOT))


def issued() -> tuple[SimpleTokens, str, str]:
    tokens = SimpleTokens(ttl=300)
    root = tokens.issue(ROOT, 1, now=0, prefix="abcdefghijklmnop", index=7)
    return tokens, root, tokens.issue("u", 1, now=10, prefix="ponmlkjihgfedcba", index=8)


def refused(tokens: SimpleTokens, token: str, now: float = 20) -> bool:
    try:
        tokens.identify(token, 1, now=now)
    except InvalidToken:
        return True
    return False


def test_a_token_speaks_for_the_state_as_it_is() -> None:
    tokens, root, u = issued()
    assert root == "abcdefghijklmnop.7"
    assert tokens.identify(u, 42, now=20) == Identity("u", 42)
    assert refused(tokens, "abcdefghijklmnop.8")


def test_use_renews_it_and_disuse_ends_it() -> None:
    tokens, root, u = issued()
    assert tokens.deadline() == 300
    assert not refused(tokens, root, now=300)
    assert tokens.deadline() == 310
    assert refused(tokens, u, now=310.1)
    assert not refused(tokens, root, now=600)


def test_expired_ones_are_forgotten() -> None:
    tokens, root, _ = issued()
    tokens.expire(now=305)
    assert len(tokens) == 1
    assert refused(tokens, root, now=0)
    tokens.expire(now=311)
    assert tokens.deadline() is None


def test_a_token_is_given_once() -> None:
    tokens, _, _ = issued()
    with pytest.raises(ValueError, match="already"):
        tokens.issue("u", 1, now=0, prefix="abcdefghijklmnop", index=7)


@pytest.mark.parametrize(
    ("after", "ended"),
    [
        (change.add_user(STATE, "new", None), set()),
        (change.grant_role(STATE, "u", ROOT), set()),
        (change.change_password(STATE, "u", "3"), {"u"}),
        (change.delete_user(STATE, "u"), {"u"}),
        (change.disable(STATE), {"u", ROOT}),
    ],
)
def test_changes_that_end_tokens(after: AuthState, ended: set[str]) -> None:
    tokens, root, u = issued()
    tokens.follow(STATE, after)
    assert {name for name, token in ((ROOT, root), ("u", u)) if refused(tokens, token)} == ended


def test_a_token_speaks_before_a_certificate() -> None:
    tokens, _, u = issued()
    assert identify(tokens, STATE, token=u, common_name="cn", now=20) == Identity("u", STATE.revision)
    assert identify(tokens, STATE, token=None, common_name="cn", now=20) == Identity("cn", STATE.revision)
    assert identify(tokens, STATE, token=None, common_name=None, now=20) is None
    for state in (STATE, AuthState()):
        with pytest.raises(InvalidToken):
            identify(tokens, state, token="bogus", common_name="cn", now=20)
