"""What touches the network: transports, and the loops that use them."""

import os

# Both are read once, when gRPC's core is loaded. It writes to stderr what its errors say as well:
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# A process that speaks gRPC starts others (fork and exec), and its children must not begin with gRPC's threads: with
# them they may not enter namespaces.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
