"""Counters, captures and probes from the kernel."""
