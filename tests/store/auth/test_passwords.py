"""Hashed passwords."""

import pytest

from hawser.store.auth import (
    AuthFailed,
    AuthState,
    NoPasswordUser,
    NotEnabled,
    User,
    hash_password,
    stored_password,
    verify_password,
)
from hawser.store.auth.passwords import COST

SALT = bytes(range(16))


def test_only_the_password_verifies() -> None:
    stored = hash_password("sesame", SALT, cost=2)
    assert verify_password(stored, "sesame")
    assert not verify_password(stored, "Sesame")
    assert not verify_password(stored, "")
    assert verify_password(hash_password("", SALT, cost=2), "")


def test_the_usual_cost_works() -> None:
    assert verify_password(hash_password("sesame", SALT), "sesame")
    assert hash_password("sesame", SALT) != hash_password("sesame", SALT, cost=COST - 1)


def test_a_hash_tells_nothing_and_depends_on_its_salt() -> None:
    stored = hash_password("sesame", SALT, cost=2)
    assert "sesame" not in stored
    assert stored == hash_password("sesame", SALT, cost=2) != hash_password("sesame", SALT[::-1], cost=2)


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        hash_password("sesame", b"salt")


@pytest.mark.parametrize(
    "stored", ["", "pw", "bcrypt$2$AA==$AA==", "scrypt$x$AA==$AA==", "scrypt$99$AA==$AA==", "a$b$c$d"]
)
def test_what_is_no_hash_verifies_nothing(stored: str) -> None:
    assert not verify_password(stored, "pw")


def test_whose_password_can_be_verified() -> None:
    users = {"u": User(name="u", password="hash"), "v": User(name="v")}
    state = AuthState(enabled=True, users=users)
    assert stored_password(state, "u") == "hash"
    with pytest.raises(NoPasswordUser):
        stored_password(state, "v")
    with pytest.raises(AuthFailed):
        stored_password(state, "x")
    with pytest.raises(NotEnabled):
        stored_password(AuthState(users=users), "u")
