"""Counters of ports and policies as Prometheus reads them (text exposition format 0.0.4).

https://prometheus.io/docs/instrumenting/exposition_formats/: a family's HELP and TYPE, then its samples, in an order
that does not change. Names of labels are ours, values are anybody's and escaped.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..model import Direction, Port
from .stats import Counters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# (policy, direction, index of the rule), as netd.policy.nft counts them; an index below 0 is what was dropped
PolicyCounters = Mapping[tuple[str, Direction, int], tuple[int, int]]
Labels = tuple[tuple[str, str], ...]
PORT_HELP = {
    "receive_bytes": "Bytes that came to the port.",
    "receive_packets": "Packets that came to the port.",
    "receive_errors": "Packets for the port that its link could not carry.",
    "receive_dropped": "Packets for the port that were lost at its link.",
    "transmit_bytes": "Bytes that the port sent.",
    "transmit_packets": "Packets that the port sent.",
    "transmit_errors": "Packets of the port that its link could not carry.",
    "transmit_dropped": "Packets of the port that were lost at its link.",
}
REFUSED_HELP = {
    "packets": "Packets of the port that port security dropped: foreign addresses, answers of DHCP, routers.",
    "bytes": "Bytes of the port that port security dropped.",
}
POLICY_HELP = {
    "packets": "Packets of new connections that a rule of a policy decided.",
    "bytes": "Bytes of new connections that a rule of a policy decided.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSample:
    """One port's counters; `refused` (packets, bytes) by port security, None where that is not counted."""

    tenant: str
    network: str
    sandbox: str
    ifname: str
    machine: str
    counters: Counters
    refused: tuple[int, int] | None = None

    @property
    def labels(self) -> Labels:
        """What tells it from other ports."""
        names = ("tenant", "network", "sandbox", "ifname", "machine")
        return tuple((name, getattr(self, name)) for name in names)


def port_sample(port: Port, counters: Counters, refused: tuple[int, int] | None = None) -> PortSample:
    """A port's counters under its names."""
    return PortSample(
        tenant=port.tenant,
        network=port.network,
        sandbox=port.sandbox,
        ifname=port.ifname,
        machine=port.machine,
        counters=counters,
        refused=refused,
    )


def render(ports: Iterable[PortSample], policies: Mapping[str, PolicyCounters] | None = None) -> str:
    """The page: every port, and every tenant's policies by tenant. Families without a sample are left out."""
    lines: list[str] = []
    samples = sorted(ports, key=lambda sample: sample.labels)
    for name, words in PORT_HELP.items():
        values = [(sample.labels, getattr(sample.counters, name)) for sample in samples]
        lines += _family(f"hawser_port_{name}_total", words, values)
    for index, (name, words) in enumerate(REFUSED_HELP.items()):
        refused = [(sample.labels, sample.refused[index]) for sample in samples if sample.refused is not None]
        lines += _family(f"hawser_port_refused_{name}_total", words, refused)
    counted = sorted(_policies(policies or {}))
    for index, (name, words) in enumerate(POLICY_HELP.items()):
        lines += _family(f"hawser_policy_{name}_total", words, [(labels, pair[index]) for labels, pair in counted])
    return "".join(f"{line}\n" for line in lines)


def _policies(policies: Mapping[str, PolicyCounters]) -> Iterator[tuple[Labels, tuple[int, int]]]:
    for tenant, counters in policies.items():
        for (policy, direction, index), pair in counters.items():
            rule, verdict = ("default", "drop") if index < 0 else (str(index), "allow")
            labels = (("tenant", tenant), ("policy", policy), ("direction", str(direction)))
            yield (*labels, ("rule", rule), ("verdict", verdict)), pair


def _family(name: str, words: str, values: Iterable[tuple[Labels, int]]) -> Iterator[str]:
    lines = [f"{name}{{{_labels(labels)}}} {value}" for labels, value in values]
    if lines:
        yield f"# HELP {name} {words}"
        yield f"# TYPE {name} counter"
        yield from lines


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
