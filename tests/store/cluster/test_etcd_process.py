"""A real etcd member under supervision: it comes up with the cluster's certificates, comes back, and outlives us."""

import asyncio
import os
import signal
import socket
import ssl
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from hawser.store import Unavailable
from hawser.store.cluster import certificates
from hawser.store.cluster.certificates import Profile
from hawser.store.cluster.command import EtcdConfig, Tls
from hawser.store.cluster.drivers.etcd_process import EtcdProcess, EtcdState, complaint, tail
from hawser.store.reconcile import Backoff
from tests.etcd import free_port
from tests.store.cluster import keeper
from tests.store.cluster.local_etcd import CLUSTER, ctl, files, member, needs_etcd, running, supervised
from tests.wait import auntil

pytestmark = needs_etcd
QUICK = Backoff(base=0.05, cap=0.2)


def process(config: EtcdConfig, rundir: Path) -> EtcdProcess:
    return EtcdProcess(config, rundir / config.name, backoff=QUICK)


async def test_a_member_answers_whom_the_clusters_ca_knows_and_nobody_else(rundir: Path) -> None:
    authority = certificates.new_authority(CLUSTER, now=time.time(), serial=1)
    config = member(rundir, files(rundir, authority, "m1"))
    client = files(rundir, authority, "laptop", Profile.MACHINE)
    (rundir / "strange").mkdir()
    stranger = files(rundir / "strange", certificates.new_authority(CLUSTER, now=time.time(), serial=2), "m1")
    async with supervised(process(config, rundir)) as etcd:
        await etcd.start()
        assert await ctl(config, "put", "a", "1", tls=client) == (0, "OK\n")
        code, said = await ctl(config, "get", "a", tls=stranger)
        assert code != 0, said
        plain = config.client_urls[0].replace("https", "http")
        code, said = await ctl(config, "get", "a", endpoint=plain, tls=client)
        assert (etcd.status().state, etcd.status().restarts) == (EtcdState.RUNNING, 0)
        assert stat.S_IMODE(config.data.stat().st_mode) == 0o700
        assert etcd.outdated() is None


async def test_a_killed_member_is_started_again_with_its_data(rundir: Path) -> None:
    config = member(rundir, None)
    async with supervised(process(config, rundir)) as etcd:
        await etcd.start()
        await ctl(config, "put", "kept", "1")
        first = etcd.status().pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await auntil(lambda: etcd.status().pid not in (None, first), what="another process")
        assert "was killed by SIGKILL" in etcd.status().reason
        await etcd.ready(20)
        assert await ctl(config, "get", "kept") == (0, "kept\n1\n")
        assert etcd.status().restarts == 1


async def test_a_member_outlives_its_supervisor_and_is_adopted_by_the_next(rundir: Path) -> None:
    config = member(rundir, None)
    first = process(config, rundir)
    async with running(first):
        await first.start()
        pid = first.status().pid
    second = process(config, rundir)
    assert second.open()
    assert second.status().pid == pid
    async with supervised(second):
        await second.ready(10)
        assert second.outdated() is None
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # an adopted one is watched as well
        await auntil(lambda: second.status().pid not in (None, pid), what="another process")
        await second.ready(20)


async def test_a_member_goes_on_when_the_node_process_is_killed(rundir: Path) -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    line = [sys.executable, "-m", "tests.store.cluster.keeper", str(rundir / "m1"), *urls]
    node = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE)
    assert node.stdout is not None
    word, _, pid = (await node.stdout.readline()).decode().partition(" ")
    assert word == "ready"
    node.kill()
    await node.wait()
    config = keeper.config(rundir / "m1", *urls)
    assert await ctl(config, "put", "between", "1") == (0, "OK\n")
    etcd = process(config, rundir)
    assert etcd.open()
    async with supervised(etcd):
        assert etcd.status().pid == int(pid)
        os.kill(int(pid), signal.SIGKILL)  # nobody's child: its end is seen all the same
        await auntil(lambda: etcd.status().pid not in (None, int(pid)), what="another process")
        await etcd.ready(20)
        assert await ctl(config, "get", "between") == (0, "between\n1\n")


async def test_stop_ends_it_and_nothing_is_left_to_adopt(rundir: Path) -> None:
    config = member(rundir, None)
    etcd = process(config, rundir)
    async with running(etcd):
        await etcd.start()
        pid = etcd.status().pid
        await etcd.stop()
        assert etcd.status().state is EtcdState.STOPPED
        assert not os.path.exists(f"/proc/{pid}")  # noqa: ASYNC240
        await etcd.start()
        await etcd.destroy()
        assert not config.data.exists()
    assert not process(config, rundir).open()


async def test_a_stubborn_member_is_killed(rundir: Path) -> None:
    config = member(rundir, None)
    async with supervised(process(config, rundir)) as etcd:
        await etcd.start()
        pid = etcd.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await etcd.stop(timeout=0.2)
        assert not os.path.exists(f"/proc/{pid}")  # noqa: ASYNC240


async def test_the_record_of_another_process_is_not_adopted(rundir: Path) -> None:
    config = member(rundir, None)
    etcd = process(config, rundir)
    record = rundir / "m1" / "process"
    async with supervised(etcd):
        await etcd.start()
        own = record.read_text()
        boot, _, line = own.partition("\n")
        before, _, after = line.rpartition(")")
        fields = after.split()
        fields[19] = str(int(fields[19]) - 1)
        for text in ("", "nonsense", f"{boot}\n{before}) {' '.join(fields)}\n", f"another-boot\n{line}"):
            record.write_text(text)
            assert not process(config, rundir).open(), text
        record.write_text(own)
        other = process(config, rundir)
        assert other.open()


async def test_why_it_cannot_run_is_said(rundir: Path) -> None:
    config = member(rundir, None)
    port = int(config.client_urls[0].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        async with supervised(process(config, rundir)) as etcd:
            with pytest.raises(Unavailable, match="is not ready after"):
                await etcd.start(timeout=1.5)
            await auntil(lambda: etcd.status().state is EtcdState.FAILED, what="its end")
            assert "address already in use" in etcd.status().reason
            assert etcd.status().restarts > 0
    async with supervised(EtcdProcess(config, rundir / "m1", program="no-such-etcd", backoff=QUICK)) as etcd:
        with pytest.raises(Unavailable, match="install it"):
            await etcd.start(timeout=0.3)


async def test_other_options_ask_for_a_restart(rundir: Path) -> None:
    config = member(rundir, None)
    async with supervised(process(config, rundir)) as etcd:
        await etcd.start()
        larger = replace(config, quota=config.quota // 2, initial_cluster=config.initial_cluster)
        etcd.config = larger
        assert etcd.outdated() == "it runs with another --quota-backend-bytes"
        await etcd.restart(larger)
        assert etcd.outdated() is None


async def test_the_loop_is_never_held_up(rundir: Path) -> None:
    etcd = process(member(rundir, None), rundir)
    longest, last = 0.0, time.monotonic()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    async with supervised(etcd), asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        await etcd.start()
        await etcd.stop()
        ticking.cancel()
    assert longest < 0.25


def test_the_last_complaint_in_a_log(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    assert tail(log, 0) == []
    first = b'{"level":"fatal","msg":"old"}\n'
    log.write_bytes(
        first
        + b'{"level":"error","msg":"listening failed","error":"in use"}\n{"level":"info","msg":"closed"}\npanic: x\n'
    )
    assert complaint(tail(log, len(first))) == "listening failed: in use"
    assert complaint(tail(log, len(first))[1:]) == ""
    assert tail(log, 1 << 30)[0] == first.strip()  # it was cut since
    assert tail(log, 0, limit=9) == [b"panic: x"]


async def test_certificates_are_rotated_without_a_restart(rundir: Path) -> None:
    authority = certificates.new_authority(CLUSTER, now=time.time(), serial=1)
    tls = files(rundir, authority, "m1")
    config = member(rundir, tls)
    host, _, port = config.client_urls[0].removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(tls.certificate)

    async def shown() -> str:
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        certificate = writer.get_extra_info("peercert")
        writer.close()
        return str(certificate["serialNumber"])

    async with supervised(process(config, rundir)) as etcd:
        await etcd.start()
        before = await shown()
        (rundir / "next").mkdir()
        files(rundir / "next", authority, "m1").certificate.rename(tls.certificate)
        assert await shown() != before
        await etcd.ready(5)


async def test_a_machine_that_runs_no_member_cannot_pose_as_a_peer(rundir: Path) -> None:
    authority = certificates.new_authority(CLUSTER, now=time.time(), serial=1)
    tls = files(rundir, authority, "m1")
    config = member(rundir, tls)
    machine = files(rundir, authority, "laptop", Profile.MACHINE)
    host, _, port = config.peer_urls[0].removeprefix("https://").partition(":")
    async with supervised(process(config, rundir)) as etcd:
        await etcd.start()
        assert await _members(host, port, tls) == 200
        with pytest.raises(aiohttp.ClientError):
            await _members(host, port, machine)


async def _members(host: str, port: str, tls: Tls) -> int:
    """What etcd's peer door answers whom."""
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(tls.certificate)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{host}:{port}/members", ssl=context) as answer,
    ):
        return answer.status
