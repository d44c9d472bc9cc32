"""What else decides over packets on this host.

A packet must be accepted by every base chain of its hook (nft(8)): another program's `policy drop` on forwarded packets
also drops what passes between our containers and the outside, whatever our own table says. We change nothing there.
"""

from .nft import Nft


def foreign_drops() -> list[str]:
    """Base chains at hook forward with policy drop, as `family table chain`, sorted; of the calling thread's namespace.

    Our own never have that policy. Where one is found, its owner must let the bridges pass; for Docker, whose chain is
    `ip filter FORWARD`: `iptables -I DOCKER-USER -i hwu+ -j ACCEPT` and the same with `-o hwu+` (and `ip6tables`); for
    another, an accept rule in that chain. Not seen: a rule that drops (only policies are), and the tables of
    `iptables-legacy`, which are not nftables'. Denied without the rights, Unavailable without libnftables. Blocks.
    """
    nft = Nft()
    try:
        chains = [entry["chain"] for entry in nft.objects("list chains") if "chain" in entry]
    finally:
        nft.close()
    return sorted(
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop"
    )
