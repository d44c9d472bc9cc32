"""`hawser kv`: the store for people. Each verb's module is imported when the verb is used, for start-up is most of what
a short command costs.

A verb asks a store through its contract (`hawser.store`), reached as `where.py` decides: the endpoints that were named,
else the running node's own store. What the contract has no words for is one of etcd's calls (`hawser.store.etcd`).
"""

import click

from ..lazy import Lazy
from .group import where_options

VERBS = {
    "get": ("hawser.cli.kv.keys:get", "Print the value of KEY, or the keys and values of a range."),
    "put": ("hawser.cli.kv.keys:put", "Set KEY to VALUE (without VALUE: standard input) and print the revision."),
    "del": ("hawser.cli.kv.keys:delete", "Delete KEY, or a range of keys, and print how many went."),
    "txn": ("hawser.cli.kv.txn:txn", "Run a transaction read from standard input."),
    "watch": ("hawser.cli.kv.watch:watch", "Print changes as they happen, or run COMMAND for each."),
    "lease": ("hawser.cli.kv.lease:lease", "Keys that die with their owner: grant, keep-alive, revoke, show, ls."),
    "lock": ("hawser.cli.kv.lock:lock", "Hold the lock NAME, or hold it while COMMAND runs."),
    "elect": ("hawser.cli.kv.lock:elect", "Be elected NAME's leader with VALUE, or listen to who is."),
    "compact": ("hawser.cli.kv.upkeep:compact", "Forget what is older than the keys at revision REV."),
    "defrag": ("hawser.cli.kv.upkeep:defrag", "Give the space of what was forgotten back to the disk."),
    "snapshot": ("hawser.cli.kv.snapshot:snapshot", "Snapshots of the whole store: save, restore, status."),
    "alarm": ("hawser.cli.kv.upkeep:alarm", "Alarms of members: ls, disarm."),
    "status": ("hawser.cli.kv.upkeep:status", "Each endpoint's version, size, leader and revision."),
    "health": ("hawser.cli.kv.upkeep:health", "Whether each endpoint answers, and how fast."),
    "hash": ("hawser.cli.kv.upkeep:hash_", "Each endpoint's hash of all that it keeps: equal on equal members."),
    "member": ("hawser.cli.kv.member:member", "Members of the cluster: ls, add, rm, promote, update."),
    "move-leader": ("hawser.cli.kv.member:move_leader", "Make the member ID the leader."),
    "user": ("hawser.cli.kv.access:user", "Users: add, rm, ls, show, passwd, grant, revoke."),
    "role": ("hawser.cli.kv.access:role", "Roles: add, rm, ls, show, grant, revoke."),
    "auth": ("hawser.cli.kv.access:auth", "Whether users and roles are asked for: on, off, status."),
    "migrate": (
        "hawser.cli.kv.migrate:migrate",
        "Move every key and lease to another store, verified by count and hash.",
    ),
    "serve": ("hawser.cli.kv.serve:serve", "Serve a directory's store in etcd's protocol, in the foreground."),
}

# words that users of etcdctl bring along
MEANT = {
    "delete": "del",
    "rm": "del",
    "set": "put",
    "ls": "get --prefix --keys-only ''",
    "list": "get --prefix --keys-only ''",
    "compaction": "compact",
    "endpoint": "status, health, hash",
    "defragment": "defrag",
    "election": "elect",
    "restore": "snapshot restore",
    "make-mirror": "migrate",
}


@where_options
@click.group(cls=Lazy, table=VERBS, meant=MEANT, word="verb")
def kv() -> None:
    """The key-value store. Keys under /hawser/ are the node's own.

    It is the running node's store unless --endpoints names another, whose server is etcd or `hawser kv serve`. The
    options below may stand after the verb too.
    """
