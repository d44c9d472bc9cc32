"""Quality of service and mirrors of ports on the `bridge` data plane."""
