"""etcd's server over an embedded engine: handlers that know no transport, and drivers that serve them."""

from .calls import Handlers
from .drivers.tls import Tls
from .handlers import Settings, handlers
from .limits import Limits
from .serving import Served, serve, serving

__all__ = ["Handlers", "Limits", "Served", "Settings", "Tls", "handlers", "serve", "serving"]
