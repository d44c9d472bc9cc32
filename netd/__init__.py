"""Tenant networks of one machine: namespaces, bridges, addresses, NAT and published ports."""
