"""Where a machine of a cluster is reached: its addresses and three ports."""

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from hawser.store import Invalid
from hawser.store.cluster.certificates import peer_name
from hawser.store.cluster.command import ClusterState, EtcdConfig, Tls
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.model import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """etcd's for clients and for its peers, and the cluster's door."""

    client: int = 2379
    peer: int = 2380
    door: int = 7379

    def client_url(self, address: str) -> str:
        return f"https://{at(address, self.client)}"

    def peer_url(self, address: str) -> str:
        return f"https://{at(address, self.peer)}"

    def member_urls(self, machine: Machine) -> tuple[str, str]:
        """Where the member of a machine is for its peers, and for clients."""
        return self.peer_url(machine.addresses[0]), self.client_url(machine.addresses[0])


def at(address: str, port: int) -> str:
    """HOST:PORT."""
    return f"[{address}]:{port}" if ip_address(address).version == 6 else f"{address}:{port}"


def check_addresses(addresses: tuple[str, ...], *, alone: bool) -> None:
    """Whether others can reach this machine there. Invalid: it has no such address, or only itself can reach it and is
    not to be `alone`."""
    for address in addresses:
        ip = ip_address(address)
        with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError as error:
                raise Invalid(f"address {address}: this machine has none such ({error.strerror}): --address") from error
        if ip.is_unspecified or (ip.is_loopback and not alone):
            raise Invalid(f"address {address}: other machines do not reach this one there; say where: --address IP")


def etcd_config(
    home: Home, data: Path, cluster: str, machine: str, address: str, ports: Ports, initial: str = ""
) -> EtcdConfig:
    """This machine's member: of a new cluster, or with `initial` one that joins those."""
    peer = ports.peer_url(address)
    return EtcdConfig(
        name=machine,
        data=(data / "etcd" / "data").absolute(),
        token=cluster,
        client_urls=(ports.client_url(address),),
        peer_urls=(peer,),
        initial_cluster=initial or f"{machine}={peer}",
        state=ClusterState.EXISTING if initial else ClusterState.NEW,
        tls=Tls(certificate=home.certificate, key=home.certificate, ca=home.ca, peer_name=peer_name(cluster)),
    )
