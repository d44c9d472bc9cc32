"""etcd's command line, and what in a running one is out of date."""

from dataclasses import replace
from pathlib import Path

import pytest

from hawser.store import Invalid
from hawser.store.cluster.command import ClusterState, EtcdConfig, Tls, argv, outdated

TLS = Tls(certificate=Path("/d/m1.pem"), key=Path("/d/m1.pem"), ca=Path("/d/ca.pem"), peer_name="etcd-peer.c1")
CONFIG = EtcdConfig(
    name="m1",
    data=Path("/d/data"),
    token="c1",
    client_urls=("https://10.0.0.1:2379",),
    peer_urls=("https://10.0.0.1:2380",),
    initial_cluster="m1=https://10.0.0.1:2380",
    listen_client_urls=("https://10.0.0.1:2379", "https://127.0.0.1:2379"),
    tls=TLS,
)


def test_both_doors_ask_for_certificates() -> None:
    line = argv(CONFIG, "/usr/bin/etcd")
    assert line[0] == "/usr/bin/etcd"
    for option in (
        "--client-cert-auth=true",
        "--peer-client-cert-auth=true",
        "--peer-cert-allowed-hostname=etcd-peer.c1",
        "--trusted-ca-file=/d/ca.pem",
        "--peer-trusted-ca-file=/d/ca.pem",
        "--cert-file=/d/m1.pem",
        "--peer-key-file=/d/m1.pem",
        "--listen-client-urls=https://10.0.0.1:2379,https://127.0.0.1:2379",
        "--advertise-client-urls=https://10.0.0.1:2379",
        "--initial-cluster-state=new",
        "--auto-compaction-retention=3600s",
    ):
        assert option in line
    assert len({option.partition("=")[0] for option in line}) == len(line)


def test_history_is_kept_for_ever_when_asked() -> None:
    assert not [option for option in argv(replace(CONFIG, compaction=0)) if "compaction" in option]


def test_only_what_a_restart_would_change_is_outdated() -> None:
    again = replace(CONFIG, state=ClusterState.EXISTING, initial_cluster=f"{CONFIG.initial_cluster},m2=https://b:1")
    assert outdated(argv(CONFIG), argv(again)) is None
    assert outdated(argv(CONFIG, "etcd"), argv(CONFIG, "/usr/bin/etcd")) is None
    assert outdated(argv(CONFIG), argv(replace(CONFIG, quota=1 << 30, compaction=0))) == (
        "it runs with another --auto-compaction-mode, --auto-compaction-retention, --quota-backend-bytes"
    )


def test_every_problem_of_a_member_is_named() -> None:
    with pytest.raises(Invalid) as error:
        EtcdConfig(
            name="M1",
            data=Path("data"),
            token="c1",
            client_urls=(),
            peer_urls=("https://10.0.0.1:2380", "http://x"),
            initial_cluster="",
            election=100,
        )
    for part in (
        "name 'M1'",
        "data directory data: give an absolute path",
        "it has no client URL",
        "URL 'https://10.0.0.1:2380': it is http://ADDRESS:PORT",
        "URL 'http://x': endpoint 'x'",
        "the initial cluster lacks M1=http://x, M1=https://10.0.0.1:2380",
        "the election takes at least five heartbeats",
    ):
        assert part in str(error.value)
