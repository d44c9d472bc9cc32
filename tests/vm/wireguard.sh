#!/usr/bin/env bash
# In a virtual machine with a stock kernel: the encrypted overlay on the kernel's WireGuard, by the very tests that run on
# wireguard-go elsewhere. Run by `make test-vm` with the checkout as argument.
set -euo pipefail
cd "$1"
modprobe -a wireguard veth bridge vxlan br_netfilter nf_tables nft_nat
found=$(.venv/bin/python -c 'from hawser.netd.wireguard.drivers.probe import probe; print(probe().flavour)')
[ "$found" = kernel ] && echo "ok - the probe finds the kernel's WireGuard"
.venv/bin/python -m pytest -q -p no:cacheprovider --timeout 300 tests/netd/wireguard -k kernel
echo "ok - the behaviour on the kernel's WireGuard"
