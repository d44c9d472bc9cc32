"""The real etcdctl says the same of our server as of the real etcd: same words, same exit status, ids masked."""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.store.embedded.drivers.sqlite import SqliteEngine

from .servers import our_server, real_etcd

pytestmark = pytest.mark.skipif(
    shutil.which("etcdctl") is None or shutil.which("etcd") is None,
    reason="compares with the real etcd: needs Debian's etcd-server and etcd-client",
)
KEYS = """
put a 1
put a 2 --prev-kv
put b 10
put c 5 --prev-kv
put -- -d dash
get a
get a --print-value-only
get a --hex
get a -w fields
get a -w json
get a c
get --prefix ""
get --from-key b
get --prefix "" --keys-only
get --prefix "" --limit 2 -w fields
get --prefix "" --count-only -w fields
get --prefix "" --order DESCEND --sort-by KEY
get --prefix "" --order ASCEND --sort-by VALUE
get --prefix "" --order DESCEND --sort-by MODIFY --print-value-only
get --prefix "" --sort-by VERSION --order ASCEND --keys-only
get --prefix "" --sort-by CREATE --order DESCEND --keys-only
get a --rev 2
get a --rev 99
get a --consistency s
get ""
get nothing
put a --ignore-value
put n --ignore-value
put a 3 --ignore-lease
put a 4 --lease 1234
put "" x
del a --prev-kv
del a
del --prefix "" --prev-kv -w fields
del --from-key ""
txn < mod("k") = "0"\\n\\nput k v\\nget k\\n\\nget k\\n\\n
txn < val("k") = "v"\\nver("k") > "0"\\n\\nput k w\\ndel x\\nget --prefix k\\n\\nput no no\\n\\n
txn < val("k") = "other"\\n\\nput k z\\n\\nget k -w json\\n\\n
txn < create("k") < "1"\\n\\nput k z\\n\\ndel k --prev-kv\\n\\n
txn -w json < \\nput q 1\\nput q 2\\n\\n\\n
compaction 3
compaction 3
compaction 999
get k --rev 2
get k --rev 3
"""
LEASES = """
lease grant 100
lease grant 100 -w json
lease timetolive 1234
lease timetolive 1234 --keys
lease revoke 1234
lease keep-alive 1234 --once
lease list -w fields
lease grant 9000000001
"""
OPERATION = """
put a 1
put a 2
put b 1
del b
endpoint hashkv
compaction 3
endpoint hashkv -w json
endpoint health
endpoint hashkv
member list
member list -w json
defrag
alarm list
alarm disarm
move-leader 1234
member remove 1234
member promote 1234
"""
USERS = """
auth enable
user add root:pw
user add root:pw
user add amy --no-password
user add bob:pw -w json
user add "" --new-user-password x
user list
user get root
user get nobody
role add some
role add some
role list
role get some
role grant-permission some readwrite a
role grant-permission some read --prefix b/
role grant-permission some write c d
role grant-permission some read --from-key x
role grant-permission none read a
role get some
role get some -w fields
role revoke-permission some a
role revoke-permission some a
role revoke-permission some c d
role delete none
user grant-role bob some
user grant-role bob none
user grant-role nobody some
user get bob
user get bob --detail
user revoke-role bob some
user revoke-role bob some
user passwd nobody --interactive=false < pw
user passwd bob --interactive=false < new
user grant-role bob some
auth enable
put b/1 x
put b/1 x --user bob:pw
put b/1 x --user bob:new
get b/1 --user bob:new
get z --user bob:new
watch b/2 --user amy:x
user list --user bob:new
user list --user root:pw
user get bob --user bob:new
user delete bob --user root:pw
user delete root --user root:pw
role delete some --user root:pw
endpoint health
auth disable
auth disable --user root:pw
user delete root
"""


async def etcdctl(address: str, *arguments: str, stdin: bytes = b"", seconds: float = 10) -> tuple[int | None, str]:
    """Exit status (None: it was still running, and killed) and what it printed, of the errors only the last word."""
    process = await asyncio.create_subprocess_exec(
        "etcdctl",
        "--endpoints",
        address,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"ETCDCTL_API": "3"},
    )
    talking = process.communicate(stdin)
    out, err = await asyncio.wait_for(talking, seconds)
    errors = [line for line in err.decode().splitlines() if line.startswith("Error") or "unhealthy" in line]
    return process.returncode, mask("\n".join([*out.decode().splitlines(), *errors]), address)


def mask(text: str, address: str) -> str:
    """Without what is each server's own."""
    text = text.replace(address, "HOST")
    text = re.sub(r"took = [0-9.µmns]+", "took", text)
    text = re.sub(r"http://127\.0\.0\.1:\d+", "URL", text)
    # only etcd's member has a peer's address, and ours was not told where clients come
    text = re.sub(r'"(peer|client)URLs":\["(URL|http://HOST)"\],?', "", text).replace(
        "default, URL, http://HOST", "default, , "
    )
    text = text.replace(",}", "}")
    text = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{13,16}\b|\b\d{11,}\b", "ID", text)
    return re.sub(r"(?<=remaining\()\d+|(?<=TTL\" : )\d+", "N", text)


def parsed(line: str) -> tuple[list[str], bytes]:
    """A line of a script: words, `""` for an empty one, and after ` < ` what it reads."""
    words, _, text = line.partition(" < ")
    stdin = text.encode().decode("unicode_escape").encode()
    return [word.replace('""', "") for word in words.split()], stdin


@contextlib.asynccontextmanager
async def both(directory: Path) -> AsyncIterator[tuple[str, str]]:
    """A new server of ours, and a new one of etcd's."""
    engine = await SqliteEngine.open(directory / "store")
    with real_etcd() as theirs:
        async with our_server(engine) as ours:
            yield ours, theirs
    await engine.close()


@pytest.mark.parametrize("script", [KEYS, LEASES, OPERATION, USERS], ids=["keys", "leases", "operation", "users"])
async def test_a_script(script: str, rundir: Path) -> None:
    async with both(rundir) as (ours, theirs):

        async def run(address: str) -> list[str]:
            said = []
            for line in script.strip().splitlines():
                words, stdin = parsed(line)
                try:
                    status, text = await etcdctl(address, *words, stdin=stdin, seconds=5)
                except TimeoutError:
                    status, text = None, "no end"
                said.append(f"$ etcdctl {line}\n{text}\n-> {status}")
            return said

        for have, want in zip(*await asyncio.gather(run(ours), run(theirs)), strict=True):
            assert have == want


WATCHES = [
    ["watch", "a"],
    ["watch", "--prefix", "a", "--prev-kv"],
    ["watch", "--prefix", "a", "--rev", "2", "--prev-kv"],
    ["watch", "a", "c", "--rev", "3", "-w", "json"],
    ["watch", "a", "--rev", "2", "--hex"],
    ["watch", "--prefix", "", "--", "sh", "-c", 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"'],
]


async def test_watches_print_the_same(rundir: Path) -> None:
    async with both(rundir) as (ours, theirs):

        async def run(address: str) -> list[str]:
            for key in ("a", "ab", "a"):
                await etcdctl(address, "put", key, "before")
            watching = [
                await asyncio.create_subprocess_exec(
                    "etcdctl",
                    "--endpoints",
                    address,
                    *words,
                    stdout=asyncio.subprocess.PIPE,
                    env=os.environ | {"ETCDCTL_API": "3"},
                )
                for words in WATCHES
            ]
            for words in (["put", "a", "x"], ["del", "--prefix", "a"], ["put", "end", "x"], ["put", "a", "END"]):
                await asyncio.sleep(0.3)  # a watch of another process: nothing here says that it has begun
                await etcdctl(address, *words)
            said = []
            for words, process in zip(WATCHES, watching, strict=True):
                assert process.stdout is not None
                text = ""
                mark = "RU5E" if "json" in words else "45\\x4e\\x44" if "--hex" in words else "END"
                while mark not in text:
                    text += (await asyncio.wait_for(process.stdout.readline(), 5)).decode()
                process.terminate()
                await process.wait()
                said.append(f"$ {words}\n{mask(text, address)}")
            return said

        for have, want in zip(*await asyncio.gather(run(ours), run(theirs)), strict=True):
            assert have == want


async def test_a_watch_of_what_is_compacted_ends_with_the_same_words(rundir: Path) -> None:
    async with both(rundir) as (ours, theirs):
        said = []
        for address in (ours, theirs):
            for _ in range(4):
                await etcdctl(address, "put", "a", "x")
            await etcdctl(address, "compaction", "4")
            said.append(await etcdctl(address, "watch", "a", "--rev", "2"))
        assert said[0] == said[1]
        assert said[0] == (5, "Error: watch is canceled by the server")


async def test_leases_keep_keys_and_take_them_along(rundir: Path) -> None:
    async with both(rundir) as (ours, theirs):
        said = []
        for address in (ours, theirs):
            _, granted = await etcdctl(address, "lease", "grant", "100", "-w", "fields")
            raw = await asyncio.create_subprocess_exec(
                "etcdctl", "--endpoints", address, "lease", "list", stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"ETCDCTL_API": "3"},
            )  # fmt: skip
            lease = (await raw.communicate())[0].split()[-1].decode()
            answers = [granted]
            for words in (
                ["put", "a", "1", "--lease", lease],
                ["put", "b", "1", "--lease", lease],
                ["put", "a", "2", "--ignore-lease"],
                ["lease", "timetolive", lease],
                ["lease", "timetolive", lease, "--keys"],
                ["lease", "keep-alive", "--once", lease],
                ["lease", "list"],
                ["get", "a", "-w", "fields"],
                ["lease", "revoke", lease],
                ["get", "--prefix", "", "-w", "fields"],
                ["lease", "revoke", lease],
            ):
                _, text = await etcdctl(address, *words)
                text = re.sub(r"keys\(\[(.*)\]\)", lambda found: str(sorted(found[1].split())), text)
                answers.append(f"$ {words[:2]}\n{text}")
            said.append(answers)
        for have, want in zip(*said, strict=True):
            assert have == want


async def test_a_lock_runs_a_command_and_an_election_has_a_leader(rundir: Path) -> None:
    async with both(rundir) as (ours, theirs):

        async def run(address: str) -> list[tuple[int | None, str]]:
            first = etcdctl(address, "lock", "l", "--", "sh", "-c", "sleep 0.3; echo held $ETCD_LOCK_KEY")
            second = etcdctl(address, "lock", "l", "--", "sh", "-c", "echo then; exit 3")
            both_of_them = await asyncio.gather(first, second)
            leading = await asyncio.create_subprocess_exec(
                "etcdctl", "--endpoints", address, "elect", "e", "me", stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"ETCDCTL_API": "3"},
            )  # fmt: skip
            assert leading.stdout is not None
            key = await asyncio.wait_for(leading.stdout.readline(), 5)
            value = await asyncio.wait_for(leading.stdout.readline(), 5)
            watching = await asyncio.create_subprocess_exec(
                "etcdctl", "--endpoints", address, "elect", "-l", "e", stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"ETCDCTL_API": "3"},
            )  # fmt: skip
            assert watching.stdout is not None
            observed = [await asyncio.wait_for(watching.stdout.readline(), 5) for _ in range(2)]
            for process in (leading, watching):
                process.terminate()
                await process.wait()
            text = b"".join((key, value, *observed)).decode()
            return [*sorted(both_of_them, key=str), (leading.returncode, mask(text, address))]

        assert await run(ours) == await run(theirs)


async def test_a_snapshot_is_saved_and_its_status_needs_etcds_own_format(rundir: Path) -> None:
    """What etcdctl saves is our database and its SHA-256, which our restore reads; the rest of its snapshot commands
    read bbolt."""
    async with both(rundir) as (ours, _):
        await etcdctl(ours, "put", "a", "1")
        saved = rundir / "saved.db"
        status, text = await etcdctl(ours, "snapshot", "save", str(saved))
        assert (status, "Snapshot saved" in text) == (0, True)
        assert saved.read_bytes().startswith(b"SQLite format 3\0")
        status, _ = await etcdctl(ours, "snapshot", "status", str(saved))
        assert status != 0
