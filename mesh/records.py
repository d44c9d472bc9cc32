"""Records and intents in the store, written so that no machine takes another's name.

A record may be put where none is or where one of the same machine is, decided by the store in the same transaction.
"""

from hawser.store import Compare, DeleteOp, KeyValue, Op, PutOp, Store, absent, unchanged

from .errors import Conflict, Invalid
from .model import (
    Announcement,
    Instance,
    decode_announcement,
    decode_instance,
    encode_announcement,
    encode_instance,
    intent_key,
    service_key,
)

TRIES = 5


def stored_instance(entry: KeyValue | None) -> Instance | None:
    """The instance in a record; None when there is none or nobody can read it."""
    try:
        return None if entry is None else decode_instance(entry.value)
    except Invalid:
        return None


async def put_record(store: Store, instance: Instance, lease: int, *, intent: bool = False) -> int:
    """Put the record on its lease, and with `intent` the announcement itself, in one revision; returns that revision.

    Conflict when another machine has the name; NotFound (the store's) when the lease ended.
    """
    key = service_key(instance.key)
    ops: list[Op] = [PutOp(key, encode_instance(instance), lease)]
    if intent:
        value = encode_announcement(instance.announcement)
        ops.append(PutOp(intent_key(instance.machine, instance.key), value))
    for _ in range(TRIES):
        entry = await store.get(key)
        holder = stored_instance(entry)
        if holder is not None and holder.machine != instance.machine:
            raise Conflict(f"{instance.key} is announced by machine {holder.machine}; choose another id")
        compare: Compare = absent(key) if entry is None else unchanged(entry)
        result = await store.txn((compare,), ops)
        if result.succeeded:
            return result.revision
    raise Conflict(f"{instance.key} changes all the time; is it announced twice?")


async def delete_record(store: Store, machine: str, key: str) -> int:
    """Delete intent and record in one revision; the record only when it is this machine's; returns the revision that
    deleted the record, 0 when there was none."""
    record = service_key(key)
    for _ in range(TRIES):
        entry = await store.get(record)
        holder = stored_instance(entry)
        ops: list[Op] = [DeleteOp(intent_key(machine, key))]
        if entry is None or (holder is not None and holder.machine != machine):
            await store.txn((), ops)
            return 0
        result = await store.txn((unchanged(entry),), [*ops, DeleteOp(record)])
        if result.succeeded:
            return result.revision
    raise Conflict(f"{key} changes all the time; is it announced twice?")


async def intents(store: Store, machine: str) -> tuple[tuple[Announcement, ...], dict[str, str]]:
    """What this machine announced and did not withdraw; and the keys that cannot be read, with the reason."""
    found, problems = list[Announcement](), dict[str, str]()
    prefix = intent_key(machine, "")
    for entry in (await store.range(prefix, prefix=True)).kvs:
        try:
            announcement = decode_announcement(entry.value)
            if prefix + announcement.key != entry.key:
                raise Invalid(f"the announcement says it is {announcement.key}")
            found.append(announcement)
        except Invalid as error:
            problems[entry.key] = str(error)
    return tuple(found), problems
