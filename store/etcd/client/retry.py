"""What to do when a call failed: the rules of etcd's own clients, and theirs for what may have happened already. Pure.

What certainly reached nobody is tried elsewhere. What may have been done is tried again only when doing it twice is
the same as once; else the caller is told that nobody knows (`OutcomeUnknown`).
"""

from enum import Enum

from ...errors import Unavailable
from ..errors import Code, EtcdError
from .transport import Failed

# nothing was done: refused before it was looked at
UNTOUCHED = frozenset(
    {
        "etcdserver: no leader",
        "etcdserver: too many requests",
        "etcdserver: rpc not supported for learner",
        "etcdserver: not capable",
        "raft proposal dropped",
    }
)
STALE = frozenset(
    {
        "etcdserver: invalid auth token",
        "etcdserver: revision of auth store is old",
        "auth: revision in header is old",
        "etcdserver: user name is empty",
    }
)
# nothing was done, and nobody else would do it
REFUSED = frozenset({"etcdserver: unhealthy cluster"})
AUTH_OFF = "etcdserver: authentication is not enabled"
# a member stopped waiting for its own cluster; 3.4 says so with a code of its own errors
GIVEN_UP = ("context canceled", "context deadline exceeded")
PASSING = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.ABORTED})


class OutcomeUnknown(Unavailable):
    """A change that may have been made or not: read what is there before doing it again."""


class Turn(Enum):
    """What comes next."""

    GIVE_UP = "the answer is the answer"
    ELSEWHERE = "try again, at another endpoint when there is one"
    LOG_IN = "get a new token, then try again"
    UNKNOWN = "it may have been done"


def judge(failure: EtcdError | Failed, *, repeatable: bool, user: bool = False) -> Turn:
    """What to do after a failure; `repeatable`: twice is the same as once; `user`: a token was shown."""
    if isinstance(failure, Failed):
        if failure.mute and user and repeatable:
            return Turn.LOG_IN
        return Turn.ELSEWHERE if repeatable or not failure.sent else Turn.UNKNOWN
    if failure.text in STALE:
        return Turn.LOG_IN
    if failure.text in REFUSED:
        return Turn.GIVE_UP
    if failure.text in UNTOUCHED:
        return Turn.ELSEWHERE
    if failure.code in PASSING or any(words in failure.text for words in GIVEN_UP):
        return Turn.ELSEWHERE if repeatable else Turn.UNKNOWN
    return Turn.GIVE_UP
