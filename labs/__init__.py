"""Test networks in seconds: Mininet-style topologies of namespaces and bridges, from Python and the command line.

A lab is a pure `Topology` (model, shapes), rendered into kernel requests (render) and carried out (drivers) by `Lab`.
All bridges live in one namespace of the lab, each host in its own; the machine's own namespace sees none of it.
"""

from .drivers.node import Node
from .drivers.process import Process
from .drivers.wires import Attachment
from .errors import LabError
from .faults import Faults, Impairment
from .lab import Lab, labs, remove
from .model import Topology, topology
from .report import Report
from .shapes import linear, minimal, parse, single, tree

__all__ = [
    "Attachment",
    "Faults",
    "Impairment",
    "Lab",
    "LabError",
    "Node",
    "Process",
    "Report",
    "Topology",
    "labs",
    "linear",
    "minimal",
    "parse",
    "remove",
    "single",
    "topology",
    "tree",
]
