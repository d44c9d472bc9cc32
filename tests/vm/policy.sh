#!/usr/bin/env bash
# In a virtual machine with a stock kernel in which nothing has been loaded: a policy holds between two ports of one bridge,
# since the node loads what it needs. Run by `make test-vm` with the checkout as argument.
set -euo pipefail
cd "$1"
if [ -d /proc/sys/net/bridge ]; then echo "not ok - br_netfilter is here already"; exit 1; fi
.venv/bin/python -m pytest -q -x -p no:cacheprovider "tests/netd/test_overlay.py::test_a_policy_holds_across_machines[bridge]"
[ -d /proc/sys/net/bridge ] && echo "ok - the node loaded br_netfilter"
