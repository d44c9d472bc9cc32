"""Counting a flow's packets hop by hop on the `bridge` data plane; see `netd.watch.bridge`."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ... import rules
from ...drivers import netns
from ...drivers.nft import Nft
from ...fabric import Fabric
from ...model import Address, Port
from ...site import Site
from ..bridge import points, seen, text
from ..trace import Flow, Hop


class BridgeHops:
    """One machine's."""

    def __init__(self, fabric: Fabric, site: Site) -> None:
        self._fabric, self._site = fabric, site

    def of(self, flow: Flow, source: Port, target: Port | Address) -> Sequence[Hop]:
        """This machine's hops, in order."""
        return [point.hop for point in points(self._fabric, self._site, flow, source, target)]

    @contextmanager
    def counting(self, flow: Flow, source: Port, target: Port | Address) -> Iterator[Callable[[], Mapping[str, int]]]:
        """Count during the block. The tables go with the socket that made them, whatever becomes of this process."""
        found = points(self._fabric, self._site, flow, source, target)
        name = f"{rules.table(self._site.instance)}_trace_{os.urandom(4).hex()}"
        families = dict.fromkeys(point.family for point in found)
        space = Path(self._site.tenants) / source.tenant

        def inside(act: Callable[[Nft], object]) -> None:
            netns.inside_here(space, lambda: act(nft))  # devices are looked for where the thread is

        with closing(netns.inside_here(space, Nft)) as nft:
            inside(lambda nft: nft.run(text(name, flow, found)))

            def read() -> Mapping[str, int]:
                return seen("".join(nft.run(f"list table {family} {name}") for family in families))

            yield read
