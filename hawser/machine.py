"""What this machine is and has, as the others are told: proc(5), uname(2), statvfs(3)."""

import os
from collections.abc import Mapping
from pathlib import Path

from hawser.store.cluster.model import Capacity, Machine, Role, Versions

from . import __version__
from .identity import own_addresses
from .installed import etcd_version


def describe(
    machine: str,
    data: Path,
    *,
    started: float,
    addresses: tuple[str, ...],
    role: Role,
    labels: Mapping[str, str],
    draining: bool = False,
) -> Machine:
    """The record of this machine now; without `addresses` those towards the default route."""
    disk = os.statvfs(data)
    return Machine(
        id=machine,
        addresses=addresses or tuple(map(str, own_addresses())),
        capacity=Capacity(
            cpus=float(len(os.sched_getaffinity(0))),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            disk=disk.f_frsize * disk.f_blocks,
        ),
        versions=Versions(hawser=__version__, kernel=os.uname().release, etcd=etcd_version()),
        started=started,
        role=role,
        labels=labels,
        draining=draining,
    )
