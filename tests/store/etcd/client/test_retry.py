"""What may be tried again, and what nobody knows."""

import pytest

from hawser.store.etcd.client.retry import Turn, judge
from hawser.store.etcd.client.transport import Failed
from hawser.store.etcd.errors import Code, EtcdError

UNSENT, SENT, MUTE = Failed("refused", sent=False), Failed("cut", sent=True), Failed("hung up", sent=True, mute=True)


def etcd(code: Code, text: str) -> EtcdError:
    return EtcdError(code, f"etcdserver: {text}")


@pytest.mark.parametrize(
    ("failure", "reads", "changes"),
    [
        (UNSENT, Turn.ELSEWHERE, Turn.ELSEWHERE),
        (SENT, Turn.ELSEWHERE, Turn.UNKNOWN),
        (etcd(Code.UNAVAILABLE, "no leader"), Turn.ELSEWHERE, Turn.ELSEWHERE),
        (etcd(Code.RESOURCE_EXHAUSTED, "too many requests"), Turn.ELSEWHERE, Turn.ELSEWHERE),
        (etcd(Code.UNAVAILABLE, "leader changed"), Turn.ELSEWHERE, Turn.UNKNOWN),
        (etcd(Code.UNAVAILABLE, "request timed out"), Turn.ELSEWHERE, Turn.UNKNOWN),
        (
            etcd(Code.UNAVAILABLE, "request timed out, possibly due to previous leader failure"),
            Turn.ELSEWHERE,
            Turn.UNKNOWN,
        ),
        (EtcdError(Code.UNKNOWN, "context canceled"), Turn.ELSEWHERE, Turn.UNKNOWN),
        (etcd(Code.UNAUTHENTICATED, "invalid auth token"), Turn.LOG_IN, Turn.LOG_IN),
        (etcd(Code.INVALID_ARGUMENT, "revision of auth store is old"), Turn.LOG_IN, Turn.LOG_IN),
        (etcd(Code.PERMISSION_DENIED, "permission denied"), Turn.GIVE_UP, Turn.GIVE_UP),
        (etcd(Code.NOT_FOUND, "requested lease not found"), Turn.GIVE_UP, Turn.GIVE_UP),
        (etcd(Code.RESOURCE_EXHAUSTED, "mvcc: database space exceeded"), Turn.GIVE_UP, Turn.GIVE_UP),
    ],
)
def test_what_comes_next(failure: EtcdError | Failed, reads: Turn, changes: Turn) -> None:
    assert judge(failure, repeatable=True) is reads
    assert judge(failure, repeatable=False) is changes


def test_who_hangs_up_on_a_token_may_not_take_it_but_a_change_may_have_been_made() -> None:
    assert judge(MUTE, repeatable=True, user=True) is Turn.LOG_IN
    assert judge(MUTE, repeatable=True) is Turn.ELSEWHERE
    assert judge(MUTE, repeatable=False, user=True) is Turn.UNKNOWN
