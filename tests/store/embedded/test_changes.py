"""The index of the past: what each key of a range had at a revision, of those that changed since."""

import hypothesis.strategies as st
from hypothesis import given, settings

from hawser.store.embedded.changes import Before, Changes

KEYS = st.sampled_from([b"a", b"a\0", b"b", b"c"])


@settings(max_examples=100)
@given(
    keys=st.lists(KEYS, max_size=20),
    back=st.integers(0, 20),
    trimmed=st.integers(0, 20),
    low=KEYS,
    high=KEYS.map(lambda key: key + b"\0") | st.none(),
)
def test_the_first_change_since_says_what_was(
    keys: list[bytes], back: int, trimmed: int, low: bytes, high: bytes | None
) -> None:
    changes, last, history = Changes(), dict[bytes, int](), list[tuple[int, bytes, int]]()
    for revision, key in enumerate(keys, start=1):
        history.append((revision, key, last.get(key, 0)))
        changes.add(revision, key, last.get(key, 0))
        last[key] = revision
    revision = max(len(keys) - back, 0)
    changes.trim(min(trimmed, revision))
    assert len(changes) == len(keys) - min(trimmed, revision)
    before: Before = {}
    changes.since(revision, low, high, before)
    expected: Before = {}
    for changed, key, previous in history:
        if changed > revision and low <= key and (high is None or key < high):
            expected.setdefault(key, (previous, changed))
    assert before == expected


def test_what_is_forgotten_gives_its_memory_back() -> None:
    changes = Changes()
    for revision in range(10_000):
        changes.add(revision, b"%d" % revision, 0)
        changes.trim(revision - 100)
    assert len(changes) == 100
    assert len(changes._keys) < 3000
