"""The kernel's side of quality of service."""
