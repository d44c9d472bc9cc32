"""hawser: networking, containers, units and service discovery for fleets of Linux machines."""
