#!/usr/bin/env bash
# In a virtual machine with a stock kernel: machines whose underlay is on a VLAN, and containers that send tagged frames.
# Run by `make test-vm` with the checkout as argument.
set -euo pipefail
cd "$1"
modprobe -a 8021q veth bridge vxlan br_netfilter nf_tables nft_nat openvswitch geneve
.venv/bin/python -m pytest -q -p no:cacheprovider --timeout 300 -rs tests/netd/test_vlan.py
echo "ok - an underlay on a VLAN, tagged frames"
