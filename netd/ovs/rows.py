"""What netd has in Open vSwitch's database (ovs-vswitchd.conf.db(5)), as values: bridges, ports and mirrors by key."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRow:
    """A bridge of ours. With `fail_mode` secure it does nothing without flows. `config` is its other_config, as
    `hwaddr` or `mac-table-size`."""

    name: str
    datapath: str
    protocols: tuple[str, ...] = ("OpenFlow13", "OpenFlow14", "OpenFlow15")
    fail_mode: str = "secure"
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRow:
    """A port with its one interface on one of our bridges.

    `type` "" is a link that exists or will, `internal`, `vxlan`, `geneve`, `patch`. `ofport` asks for a number, 1 to
    65279. `policing` limits what comes from the port, in kbit/s, 0 for none, with `burst` in kbit; only the kernel's
    datapath obeys it (in user space a meter does it). `rate` limits what goes out to it, in bit/s (linux-htb).
    """

    bridge: str
    ifname: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    ofport: int | None = None
    policing: int = 0
    burst: int = 0
    rate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRow:
    """Copies of what comes from the ports `sources` (keys) and of what goes to `targets`, sent to the port `output`,
    which carries nothing else then. A port that is not there yet is left out."""

    bridge: str
    name: str
    output: str
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


OvsRow = BridgeRow | PortRow | MirrorRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """The OpenFlow number of each port by key, and why one has none."""

    numbers: Mapping[str, int]
    errors: Mapping[str, str]
