"""Users and roles as bytes and back."""

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from hawser.store import StoreError
from hawser.store.auth import ROOT, AuthState, Permission, Right, change, decode, encode
from hawser.store.errors import Corrupt

STATE = change.enable(change.grant_role(change.add_user(AuthState(), ROOT, "hash"), ROOT, ROOT))
FULL = change.grant_permission(change.add_role(STATE, "r"), "r", Permission(Right.WRITE, b"\xff", b"\0"))
STEPS = st.lists(
    st.one_of(
        st.builds(lambda name: lambda state: change.add_user(state, name, None), st.text(max_size=3)),
        st.builds(lambda name: lambda state: change.add_role(state, name), st.sampled_from("rs")),
        st.builds(lambda name: lambda state: change.delete_role(state, name), st.sampled_from("rs")),
        st.builds(lambda role: lambda state: change.grant_role(state, ROOT, role), st.sampled_from("rs")),
        st.builds(
            lambda role, *have: lambda state: change.grant_permission(state, role, Permission(*have)),
            st.sampled_from("rs"),
            st.sampled_from(Right),
            st.binary(max_size=2),
            st.binary(max_size=2),
        ),
        st.just(change.disable),
    ),
    max_size=12,
)


@settings(max_examples=100)
@given(steps=STEPS)
def test_every_reachable_state_comes_back(steps: list[Any]) -> None:
    state = STATE
    for step in steps:
        try:
            state = step(state)
        except StoreError:
            continue
    assert decode(encode(state)) == state
    assert encode(decode(encode(state))) == encode(state)


def test_the_form_on_disk() -> None:
    assert json.loads(encode(FULL)) == {
        "version": 1,
        "enabled": True,
        "revision": 5,
        "users": [{"name": "root", "password": "hash", "roles": ["root"]}],
        "roles": [{"name": "r", "permissions": [{"right": 1, "key": "/w==", "end": "AA=="}]}],
    }


def altered(**fields: object) -> bytes:
    return json.dumps(json.loads(encode(FULL)) | fields).encode()


USER: dict[str, Any] = {"name": "u", "password": None, "roles": []}
ROLE: dict[str, Any] = {"name": "r", "permissions": []}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cannot be read"),
        (b"nonsense", "cannot be read"),
        (b"[]", "cannot be read"),
        (encode(FULL)[:-1], "cannot be read"),
        (altered(version=2), "version 2"),
        (altered(more=1), "cannot be read"),
        (altered(revision=0), "revision is 0"),
        (altered(enabled="yes"), "cannot be read"),
        (altered(users=[]), "without a root"),
        (altered(enabled=False, users=[USER, USER]), "twice"),
        (altered(enabled=False, users=[USER | {"name": ""}]), "no name"),
        (altered(enabled=False, users=[USER | {"roles": ["gone"]}]), "not there: gone"),
        (altered(enabled=False, users=[USER | {"roles": ["root", "r"]}]), "not in order"),
        (altered(roles=[ROLE | {"permissions": [{"right": 3, "key": "", "end": ""}]}]), "cannot be read"),
        (
            altered(roles=[ROLE | {"permissions": [{"right": 0, "key": key, "end": ""} for key in ("Yg==", "YQ==")]}]),
            "permissions of 'r' are not in order",
        ),
    ],
)
def test_nonsense_is_refused_with_its_reason(data: bytes, why: str) -> None:
    with pytest.raises(Corrupt, match=why):
        decode(data)
