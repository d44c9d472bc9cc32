"""A node process with nothing but an etcd member: `keeper DIRECTORY CLIENT_URL PEER_URL`, says `ready` and goes on."""

import asyncio
import sys
from pathlib import Path

from hawser.store.cluster.command import EtcdConfig
from hawser.store.cluster.drivers.etcd_process import EtcdProcess


def config(directory: Path, client: str, peer: str) -> EtcdConfig:
    return EtcdConfig(
        name="m1",
        data=directory / "data",
        token="c1",
        client_urls=(client,),
        peer_urls=(peer,),
        initial_cluster=f"m1={peer}",
        heartbeat=20,
        election=200,
    )


async def main(directory: Path, client: str, peer: str) -> None:
    process = EtcdProcess(config(directory, client, peer), directory)
    process.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(process.run())
        await process.start()
        print("ready", process.status().pid, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
