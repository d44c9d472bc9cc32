"""Where a machine of a cluster is reached: its address and three ports."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from hawser.store.cluster.certificates import peer_name
from hawser.store.cluster.command import ClusterState, EtcdConfig, Tls
from hawser.store.cluster.drivers.home import Home


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


def at(address: str, port: int) -> str:
    """HOST:PORT."""
    return f"[{address}]:{port}" if ip_address(address).version == 6 else f"{address}:{port}"


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
