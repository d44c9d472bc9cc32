#!/usr/bin/env bash
# In a virtual machine with a stock kernel: networks of kind ovs on the kernel's datapath, with Geneve and VXLAN between
# machines, by the very tests that run in user space elsewhere. Run by `make test-vm` with the checkout as argument.
set -euo pipefail
cd "$1"
modprobe -a openvswitch veth bridge br_netfilter nf_tables vxlan geneve sch_htb
found=$(.venv/bin/python -c 'from hawser.netd.ovs.drivers.programs import kernel_datapath; print(kernel_datapath())')
[ "$found" = True ] && echo "ok - the kernel has the datapath"
.venv/bin/python -m pytest -q -x -p no:cacheprovider tests/netd/test_overlay.py -k ovs
echo "ok - networks over machines"
.venv/bin/python -m pytest -q -x -p no:cacheprovider tests/netd/ovs/test_agent.py
echo "ok - drift, restarts and ends of daemons"
.venv/bin/python -m pytest -q -x -p no:cacheprovider tests/netd/test_traffic.py -k "ovs and (reach or published or speaks or meet or mtu)"
echo "ok - what a network does"
