"""What touches the network: transports, and the loops that use them."""

import os

# gRPC's core writes to stderr what its errors say as well; it looks here once, when it is loaded
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
