"""Attaching a container at 10, 100 and 1,000 ports: ours, and CNI's plugins `bridge` with `host-local`.

The container's network namespace is there already, as it is for a CNI plugin. Ours is the node's real path
(`NetAgent.attach`, the embedded store on disk), and as a whole plugin `hawser-cni`, started as a runtime starts it,
beside a node that runs. Each side grows to a number of ports in a process of its own, and the attachments after that
are timed; the sides take turns. All have an IPv4 and an IPv6 address and default routes; CNI's hold no rules. The bare
calls are the least that any program must ask of the kernel for it, on messages made beforehand.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address, ip_interface
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from hawser.client import Client
from hawser.faults import Fault
from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.store import SqliteStore

from ..row import Row
from . import apart

COUNTS, SAMPLES, ROUNDS = (10, 100, 1000), 20, 2
SIDES = ("ours", "bare", "cni", "plugin")
PLUGINS = Path("/usr/lib/cni")
CNI = "CNI bridge + host-local"
OURS = {"cniVersion": "1.0.0", "name": "bench", "type": "hawser-cni", "tenant": "t", "network": "n"}
THEIRS = {
    "cniVersion": "1.0.0",
    "name": "bench",
    "type": "bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.97.0.0/16"}], [{"subnet": "fd97::/64"}]]},
}
NETWORK = {"tenant": "t", "name": "n", "subnets": ["10.98.0.0/16", "fd98::/64"]}
HAWSER = [sys.executable, "-c", "import sys; from hawser.main import main; sys.exit(main())"]
Attach = Callable[[int, Path], Awaitable[None]]


def rows() -> list[Row]:
    """p50 at each number of ports beside CNI's, how flat it is, and the whole plugins."""
    found: dict[str, dict[int, list[float]]] = {side: {count: [] for count in COUNTS} for side in SIDES}
    before = apart.namespaces()
    for _ in range(ROUNDS):
        for side in SIDES:
            for count, times in apart.run("bench.net.attach", side).items():
                found[side][int(count)] += [second * 1000 for second in times]
            apart.settle(before)
    p50 = {side: {count: median(times) for count, times in found[side].items()} for side in SIDES}
    growth = {side: p50[side][COUNTS[-1]] / p50[side][COUNTS[0]] for side in SIDES}
    return [
        *(_cost(count, found, p50) for count in COUNTS),
        Row(
            what=f"attach, growth of p50 from {COUNTS[0]} to {COUNTS[-1]:,} ports",
            ours=growth["ours"],
            unit="x",
            need="<= 1.5",
            ok=growth["ours"] <= 1.5,
            peer=growth["bare"],
            peer_name="bare netlink calls",
            note=f"CNI's {growth['cni']:.2f}",
        ),
        *(_whole(count, found, p50) for count in COUNTS),
    ]


def _cost(count: int, found: dict[str, dict[int, list[float]]], p50: dict[str, dict[int, float]]) -> Row:
    ours, cni = p50["ours"][count], p50["cni"][count]
    cuts = quantiles(found["ours"][count], n=4)
    return Row(
        what=f"attach at {count:,} ports, p50",
        ours=ours,
        unit="ms",
        need="<= 1/10 of CNI's",
        ok=ours * 10 <= cni,
        peer=cni,
        peer_name=CNI,
        note=f"quartiles {cuts[0]:.2f}-{cuts[2]:.2f} of {len(found['ours'][count])}; "
        f"bare netlink calls for the same {p50['bare'][count]:.2f}",
    )


def _whole(count: int, found: dict[str, dict[int, list[float]]], p50: dict[str, dict[int, float]]) -> Row:
    cuts = quantiles(found["plugin"][count], n=4)
    return Row(
        what=f"whole plugin hawser-cni at {count:,} ports, p50",
        ours=p50["plugin"][count],
        unit="ms",
        need="reported",
        ok=True,
        peer=p50["cni"][count],
        peer_name=CNI,
        note=f"quartiles {cuts[0]:.1f}-{cuts[2]:.1f}; of it the start of Python",
    )


async def measure(directory: Path, words: list[str]) -> Any:
    """Seconds of the attachments of one side after each of COUNTS."""
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    if words[0] == "ours":
        return await _ours(directory)
    if words[0] == "plugin":
        with _node(directory) as where:
            return await _grow(directory, _plugin([sys.executable, "-m", "hawser.cni.main"], {**OURS, "socket": where}))
    if words[0] == "cni":
        theirs = {**THEIRS, "ipam": {**THEIRS["ipam"], "dataDir": str(directory / "ipam")}}  # type: ignore[dict-item]
        return await _grow(directory, _plugin([str(PLUGINS / "bridge")], theirs))
    return await _grow(directory, _bare())


async def _grow(directory: Path, attach: Attach) -> dict[int, list[float]]:
    """Attach one after another; the times of those after each count."""
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number in range(COUNTS[-1] + SAMPLES):
        path = directory / f"box{number}.ns"
        netns.create(path, netns.lo_up)
        began = time.perf_counter()
        await attach(number, path)
        took = time.perf_counter() - began
        for count in COUNTS:
            if count <= number < count + SAMPLES:
                found[count].append(took)
    return found


async def _ours(directory: Path) -> dict[int, list[float]]:
    store = await SqliteStore.open(directory / "store")
    agent = NetAgent(store, "bench", directory)
    await agent.open()
    await agent.create_network(NETWORK)
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number in range(COUNTS[-1] + SAMPLES):
        await agent.make_sandbox(f"s{number}")
        began = time.perf_counter()
        await agent.attach(f"s{number}", tenant="t", network="n")
        took = time.perf_counter() - began
        for count in COUNTS:
            if count <= number < count + SAMPLES:
                found[count].append(took)
    await agent.close()
    await store.close()
    return found


def _plugin(command: list[str], config: dict[str, Any]) -> Attach:
    def run(number: int, path: Path) -> None:
        names = {"COMMAND": "ADD", "CONTAINERID": f"c{number}", "NETNS": str(path), "IFNAME": "eth0"}
        environment = {
            **os.environ,
            "CNI_PATH": str(PLUGINS),
            **{f"CNI_{name}": value for name, value in names.items()},
        }
        answer = subprocess.run(command, env=environment, input=json.dumps(config), capture_output=True, text=True)
        if answer.returncode != 0:
            raise RuntimeError(f"{command[-1]}: {answer.stdout}{answer.stderr}")

    async def attach(number: int, path: Path) -> None:
        run(number, path)

    return attach


@contextmanager
def _node(directory: Path) -> Iterator[str]:
    """A node with the network; the path of its socket."""
    command = [*HAWSER, "node", "up", "--data", str(directory / "data"), "--run", str(directory / "run")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = Client(str(directory / "run" / "hawser.sock"))
        for _ in range(200):
            with suppress(Fault):
                client.get("/v1/status")
                break
            time.sleep(0.05)
        client.post("/v1/networks", NETWORK)
        yield str(directory / "run" / "hawser.sock")
    finally:
        process.kill()
        process.wait()


def _bare() -> Attach:
    """The least that must be asked of the kernel."""
    here = Netlink()
    here.do([netlink.new_bridge("bare0")])
    bridge = socket.if_nametoindex("bare0")
    here.do([netlink.add_address(bridge, ip_interface(text)) for text in ("10.99.0.1/16", "fd99::1/64")])

    async def attach(number: int, path: Path) -> None:
        addresses = f"10.99.{1 + number // 250}.{1 + number % 250}/16", f"fd99::{number + 2:x}/64"

        def configure() -> None:
            with Netlink() as there:
                gateways = [netlink.add_default(2, ip_address(text)) for text in ("10.99.0.1", "fd99::1")]
                given = [netlink.add_address(2, ip_interface(text)) for text in addresses]
                there.do([netlink.set_link("eth0"), *given, *gateways])

        with path.open() as target:
            here.do([netlink.new_veth(f"b{number}", "eth0", peer_netns=target.fileno(), master=bridge)])
        netns.inside(path, configure)

    return attach


if __name__ == "__main__":
    apart.main(measure)
