"""Drivers: what units ask of the machine."""
