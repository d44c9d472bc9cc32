"""The data plane of tenant networks on Open vSwitch: one integration bridge a machine, its flows decide."""
