"""Who has an address: ARP is answered here, from what is known; neighbour solicitations go to their owner alone.

So nobody's question is ever flooded, and what nobody has gets no answer. IPv6's answers could not be made by flows that
the kernel's datapath takes (it does not set the options of a message), so the owner gives them itself.
"""

from collections.abc import Iterator

from ..model import Address, Network, Port, link_local
from . import tables
from .base import NS, RS
from .flow import Flow, Value, match
from .scope import Scope, Way
from .security import addresses6
from .tables import Flag, Kind, Table, lacks, put, then


def port(scope: Scope, each: Port, network: Network, way: Way) -> Iterator[Flow]:
    """Of a port's addresses."""
    cookie = scope.cookie(Kind.PORT, each.key)
    for address in each.addresses:
        if address.version == 4:
            yield _answer(network.vni, address.ip, each.mac, cookie)
    for target in addresses6(each):
        said = match("icmp6", reg1=network.vni, icmp_type=NS, nd_target=target)
        yield Flow(Table.DISCOVERY, 100, said, then(*way.actions, Table.OUTPUT), cookie)


def network(scope: Scope, each: Network) -> Iterator[Flow]:
    """Of the gateway, which is never asked from another machine: each has its own."""
    cookie = scope.cookie(Kind.NETWORK, each.key)
    for address in each.gateways:
        if address.version == 4:
            yield _answer(each.vni, address, each.gateway_mac, cookie)
    number = scope.ofports.gateways.get(each.key)
    if number is None:
        return
    asked: list[Address] = [*(a for a in each.gateways if a.version == 6), link_local(each.gateway_mac)]
    here: dict[str, Value] = {"reg1": each.vni, "reg4": lacks(Flag.TUNNEL)}
    actions = then(put(tables.OUT, number), Table.OUTPUT)
    for address in asked:
        yield Flow(Table.DISCOVERY, 100, match("icmp6", **here, icmp_type=NS, nd_target=address), actions, cookie)
    yield Flow(Table.DISCOVERY, 100, match("icmp6", **here, icmp_type=RS), actions, cookie)


def _answer(vni: int, address: Address, mac: str, cookie: int) -> Flow:
    actions = (
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
        f"set_field:{mac}->eth_src",
        "set_field:2->arp_op",
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
        "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]",
        f"set_field:{mac}->arp_sha",
        f"set_field:{address}->arp_spa",
        "IN_PORT",
    )
    return Flow(Table.ARP, 100, match("arp", reg1=vni, arp_tpa=address, arp_op=1), then(*actions), cookie)
