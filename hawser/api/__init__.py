"""The node's API: JSON over HTTP on a unix socket, one module of routes a noun."""
