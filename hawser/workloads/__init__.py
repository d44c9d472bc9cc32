"""Workloads: a container with its network, names and announcements, as one thing people run.

The packages below know nothing of each other: runtime has sandboxes and processes, netd has ports, mesh has records.
Here they are put together, in an order that a crash cannot hurt: the network first, the container next, the process
last; what has a network but no container is swept at the next start.
"""
