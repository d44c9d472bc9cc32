"""hawser: networking, containers, units and service discovery for fleets of Linux machines."""

__version__ = "0.1.0"
