"""etcd's version 3 protocol, both sides: its messages and calls, a server over the embedded engine, a client."""
