"""etcd's texts and codes, and what they are to us."""

import pytest

from hawser.store import StoreError
from hawser.store.auth import (
    BY_TEXT,
    NEEDS,
    NEEDS_3_4,
    Anonymous,
    AuthError,
    InvalidToken,
    Need,
    PermissionDenied,
    UserEmpty,
    UserNotFound,
    answer,
)


@pytest.mark.parametrize("kind", BY_TEXT.values())
def test_each_has_a_code_a_kind_and_one_text(kind: type[AuthError]) -> None:
    error = kind("what, why, what to do")
    assert isinstance(error, StoreError)
    assert error.kind in {"usage", "not-found", "conflict", "denied"}
    assert error.code in {2, 3, 7, 9, 16}
    assert error.raw.startswith("auth: ")
    assert BY_TEXT[error.text] is kind


def test_nobody_is_told_as_a_user_without_name_but_is_denied() -> None:
    assert (Anonymous.text, Anonymous.code) == (UserEmpty.text, UserEmpty.code)
    assert (Anonymous.kind, UserEmpty.kind) == ("denied", "usage")


def test_maintenance_tells_errors_as_they_are_inside() -> None:
    assert answer("KV/Put", PermissionDenied("")) == (7, "etcdserver: permission denied")
    assert answer("Maintenance/Hash", PermissionDenied("")) == (2, "auth: permission denied")
    assert answer("Maintenance/Hash", InvalidToken("")) == (2, "auth: invalid auth token")
    assert answer("Maintenance/Hash", UserNotFound("")) == (2, "auth: user not found")


def test_no_call_asks_for_less_than_etcds_did() -> None:
    order = list(Need)
    assert NEEDS.keys() == NEEDS_3_4.keys()
    assert all(order.index(NEEDS[call]) >= order.index(NEEDS_3_4[call]) for call in NEEDS)
