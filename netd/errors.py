"""What can go wrong in netd, by what the caller can do about it."""


class NetError(Exception):
    """Base of netd's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


class Invalid(NetError):
    """The request makes no sense as written."""

    kind = "usage"


class NotFound(NetError):
    """No such network, sandbox or port."""

    kind = "not-found"


class Exists(NetError):
    """The name is taken."""

    kind = "conflict"


class Conflict(NetError):
    """Somebody else holds what was asked for: an address, a port, a subnet."""

    kind = "conflict"


class Unavailable(NetError):
    """Not now: a pool is empty, or the kernel lacks a part."""

    kind = "unavailable"


class Denied(NetError):
    """The kernel refused for lack of rights."""

    kind = "denied"
