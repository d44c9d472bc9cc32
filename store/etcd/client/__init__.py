"""The client of etcd: `connect` gives the store's contract over a cluster; its other calls are in parts over the same
connection."""

from .drivers.connect import connect
from .endpoints import Endpoint, parse
from .retry import OutcomeUnknown
from .store import EtcdStore
from .tls import Tls

__all__ = ["Endpoint", "EtcdStore", "OutcomeUnknown", "Tls", "connect", "parse"]
