"""Real etcd members on loopback ports, with certificates of a cluster of their own."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from hawser.store.cluster import certificates, pem
from hawser.store.cluster.certificates import Authority, Profile, Subject
from hawser.store.cluster.command import ClusterState, EtcdConfig, Tls
from hawser.store.cluster.drivers.etcd_process import EtcdProcess
from tests.etcd import free_port

CLUSTER = "c1"
needs_etcd = pytest.mark.skipif(
    shutil.which("etcd") is None or shutil.which("etcdctl") is None, reason="needs Debian's etcd-server and etcd-client"
)


def files(directory: Path, authority: Authority, machine: str, profile: Profile = Profile.MEMBER) -> Tls:
    """A machine's certificate and key in one file, and the CA's."""
    subject = Subject(cluster=CLUSTER, machine=machine, addresses=(ip_address("127.0.0.1"),), profile=profile)
    key, now = certificates.new_key(), time.time()
    certificate = certificates.issue(
        authority, certificates.request(key, subject), subject, now=now, serial=time.time_ns()
    )
    both, ca = directory / f"{machine}.pem", directory / "ca.pem"
    both.write_bytes(certificate + key)
    ca.write_bytes(pem.join([authority.certificate]))
    return Tls(certificate=both, key=both, ca=ca, peer_name=certificates.peer_name(CLUSTER))


def member(directory: Path, tls: Tls | None, name: str = "m1", others: str = "") -> EtcdConfig:
    scheme = "https" if tls else "http"
    peer, client = (f"{scheme}://127.0.0.1:{free_port()}" for _ in range(2))
    return EtcdConfig(
        name=name,
        data=directory / name / "data",
        token=CLUSTER,
        client_urls=(client,),
        peer_urls=(peer,),
        initial_cluster=f"{others},{name}={peer}" if others else f"{name}={peer}",
        state=ClusterState.EXISTING if others else ClusterState.NEW,
        tls=tls,
        heartbeat=20,
        election=200,
    )


async def ctl(config: EtcdConfig, *words: str, tls: Tls | None = None, endpoint: str = "") -> tuple[int, str]:
    """etcdctl with a machine's certificate: exit code and all it said."""
    tls = tls or config.tls
    own = [f"--cacert={tls.ca}", f"--cert={tls.certificate}", f"--key={tls.key}"] if tls else []
    line = [
        "etcdctl",
        f"--endpoints={endpoint or config.client_urls[0]}",
        "--command-timeout=2s",
        "--dial-timeout=1s",
        *own,
        *words,
    ]
    done = await asyncio.to_thread(
        subprocess.run, line, capture_output=True, text=True, env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}
    )
    return done.returncode, done.stdout + done.stderr


@asynccontextmanager
async def running(process: EtcdProcess) -> AsyncIterator[asyncio.Task[None]]:
    """Its loop beside the test; what it still runs afterwards is left alone."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(process.run())
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def supervised(process: EtcdProcess) -> AsyncIterator[EtcdProcess]:
    """Its loop beside the test, and its end after it."""
    async with running(process):
        try:
            yield process
        finally:
            await process.stop(timeout=2)
