"""What is seen of tenants' networks: counters, captures, loss and latency."""
