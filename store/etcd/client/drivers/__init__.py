"""What touches the network: transports, and the loops that use them."""
