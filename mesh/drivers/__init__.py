"""What the mesh does to the world: checks, and the DNS server's sockets."""
