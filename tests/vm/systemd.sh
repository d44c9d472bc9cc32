#!/usr/bin/env bash
# In a virtual machine with systemd and cgroup version 2: the shipped unit, limits that bite, restarts that nobody
# notices, a clean end. Run by `make test-vm` with the checkout as argument; every line must hold.
set -euo pipefail
cd "$1" # the checkout; the script itself may run from elsewhere
export PATH="$PWD/.venv/bin:$PATH"
trap 'echo "NOT OK: line $LINENO"; journalctl -u hawser --no-pager | tail -20' ERR
say() { echo "ok - $1"; }

modprobe -a veth bridge overlay nft_nat br_netfilter 2>/dev/null || true
mkdir -p /var/lib/hawser
mount -t tmpfs state /var/lib/hawser # the machine's own root may be an overlay, which cannot carry another one
hawser check
hawser node unit > /run/systemd/system/hawser.service
systemctl daemon-reload
systemctl start hawser
[ "$(systemctl is-active hawser)" = active ] && say "the unit starts and says so"

mkdir -p /run/root/bin
cp /bin/busybox /run/root/bin/
tar -C /run/root -c bin | hawser image import - busybox
hawser run -d --name c -m 32M --cpus 0.5 --pids 20 -p 8080:80 busybox /bin/busybox httpd -f -p 80 -h /bin
pid=$(hawser show c | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
group=/sys/fs/cgroup$(cut -d: -f3 "/proc/$pid/cgroup")
[ "$(cat "$group/memory.max")" = 33554432 ] && say "memory.max"
[ "$(cat "$group/cpu.max")" = "50000 100000" ] && say "cpu.max"
[ "$(cat "$group/pids.max")" = 20 ] && say "pids.max"
curl -sf -o /dev/null http://127.0.0.1:8080/busybox && say "the published port answers"

code=0
hawser run --rm -m 16M busybox /bin/busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=60 || code=$?
[ "$code" = 137 ] && say "memory.max bites"

systemctl restart hawser
[ -d "/proc/$pid" ] && hawser ps | grep -q running && say "a restart stops no container"
systemctl stop hawser
curl -sf -o /dev/null http://127.0.0.1:8080/busybox && say "traffic goes on without the node"
systemctl start hawser
[ "$(hawser plan --json)" = "[]" ] && say "nothing is pending"
! journalctl -u hawser --no-pager | grep -q left-over && say "nothing of the containers is in the service's group"
hawser node leave --yes
until [ "$(systemctl is-active hawser)" = inactive ]; do sleep 0.2; done
[ ! -d "/proc/$pid" ] && [ ! -e /sys/fs/cgroup/hawser ] && say "leave removes everything and ends the service"
