"""Doors to Open vSwitch: its processes, its database, its flows, and the offloads of its ports."""
