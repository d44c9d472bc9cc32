"""The encrypted overlay between machines: WireGuard, over which the tunnels of tenant networks run.

Each machine has one inner address and two WireGuard interfaces, slots 0 and 1, with a key and a UDP port each. Every
machine speaks slot to slot with every other, and takes the inner addresses of the others on both; a route for each
machine says through which slot it is sent to. Keys are changed in the slot through which nobody sends, and traffic
moves there once a handshake with the new keys was seen: so that a change of keys loses no packet. One interface alone
cannot do that: it has one private key, and an allowed address belongs to one peer at a time (wg(8)), so whatever was
sent between the two sides' changes would be dropped.
"""
