# Set-up and the house's commands. Every target installs what it needs first, once; the second run is quick.
# Stamps: .cache/apt*.<hash of the package list>, .venv/.stamp (newer than the lock file and pyproject.toml).

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: setup demo test unit check bench clean test-vm lock proto help

PYTHON ?= /usr/bin/python3
BIN := .venv/bin
# The packages are named by their links in hawser/, or the linter takes them for the banned top-level names.
SOURCES := hawser $(wildcard hawser/*/) tests bench examples

DEBS := python3 python3-venv libnftables1 procps nftables iproute2 iputils-ping busybox-static curl systemd
DEBS += wireguard-go wireguard-tools
# what the unpacked openvswitch needs
DEBS += libbpf1 libcap-ng0 libnuma1 libssl3 libunbound8 libxdp1
DEBS_BENCH := crun mininet bridge-utils iperf3 containernetworking-plugins
# unpacked and not installed: installing these starts servers on a machine with systemd; PACKAGE/ITS PROGRAM
DEBS_UNPACKED := etcd-server/etcd etcd-client/etcdctl openvswitch-switch/ovs-vswitchd openvswitch-common/ovsdb-server
UNPACKED := $(CURDIR)/.cache/unpacked
export PATH := $(PATH):$(UNPACKED)/usr/bin:$(UNPACKED)/usr/sbin:$(UNPACKED)/usr/lib/openvswitch-switch
hash = $(shell echo '$(1)' | sha256sum | cut -c1-12)
APT := .cache/apt.$(call hash,$(DEBS))
APT_BENCH := .cache/apt-bench.$(call hash,$(DEBS_BENCH))
APT_UNPACKED := .cache/apt-unpacked.$(call hash,$(DEBS_UNPACKED))

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: setup ## the whole stack on this machine, end to end; then a cluster of three
	@$(BIN)/hawser demo --prepare
	@$(BIN)/hawser demo
	@$(BIN)/hawser demo --cluster

test: setup ## every test, the real kernel included
	@$(BIN)/pytest -q

unit: setup ## the tests of everything that only decides: no root, under ten seconds
	@$(BIN)/pytest -q -m pure

check: setup ## lint, types, imports
	@echo "==> ruff"; $(BIN)/ruff check $(SOURCES) && $(BIN)/ruff format --check -q $(SOURCES)
	@echo "==> mypy"; $(BIN)/mypy
	@echo "==> imports"; $(BIN)/pytest -q tests/test_architecture.py

# VM_BOOT boots a stock kernel with this machine's / visible and runs a script in it: `VM_BOOT -S -t SECONDS SCRIPT`
# (-S: systemd as PID 1), ending as the script ended. Under emulation this takes minutes.
test-vm: setup ## what needs systemd, cgroup version 2, WireGuard, VLANs and Open vSwitch in the kernel, in a virtual machine: make test-vm VM_BOOT=COMMAND
	@[ -n "$(VM_BOOT)" ] || { echo "make: test-vm needs VM_BOOT=COMMAND, a command that boots a virtual machine and runs a script in it"; exit 2; }
	@$(VM_BOOT) -S -t 300 tests/vm/systemd.sh $(CURDIR)
	@$(VM_BOOT) -t 300 tests/vm/policy.sh $(CURDIR)
	@$(VM_BOOT) -t 1800 tests/vm/wireguard.sh $(CURDIR)
	@$(VM_BOOT) -t 600 tests/vm/vlan.sh $(CURDIR)
	@$(VM_BOOT) -t 900 tests/vm/ovs.sh $(CURDIR)

bench: setup $(APT_BENCH) ## figures beside their peers, written to bench/RESULTS.md
	@$(BIN)/python -m bench

clean: ## remove what set-up made in this directory (Debian packages stay)
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: $(BIN)/python ## rewrite requirements.lock from pyproject.toml: versions and hashes, no index
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --generate-hashes --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

proto: setup ## rewrite the messages of etcd's protocol from store/etcd/etcd.proto
	@$(BIN)/python -m grpc_tools.protoc -I store/etcd --python_out=store/etcd --pyi_out=store/etcd store/etcd/etcd.proto

setup: $(APT) $(APT_UNPACKED) .venv/.stamp

$(APT): PACKAGES := $(DEBS)
$(APT_BENCH): PACKAGES := $(DEBS_BENCH)
$(APT) $(APT_BENCH):
	@mkdir -p .cache
	@missing=""; for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "==> Debian packages:$$missing"; \
	  [ "$$(id -u)" = 0 ] || { echo "make: installing Debian packages needs root; run: sudo apt-get install$$missing"; exit 1; }; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	@touch $@

$(APT_UNPACKED): | $(APT)
	@mkdir -p $(UNPACKED)
	@missing=""; for p in $(DEBS_UNPACKED); do command -v "$${p#*/}" >/dev/null || missing="$$missing $${p%/*}"; done; \
	if [ -n "$$missing" ]; then \
	  echo "==> Debian packages, unpacked:$$missing"; cd $(UNPACKED); \
	  apt-get download -q $$missing 2>/dev/null || { \
	    [ "$$(id -u)" = 0 ] || { echo "make: apt knows no packages yet; run: sudo apt-get update"; exit 1; }; \
	    apt-get update -q && apt-get download -q $$missing; } || exit 1; \
	  for deb in *.deb; do dpkg-deb -x "$$deb" . && rm "$$deb" || exit 1; done; \
	fi
	@touch $@

$(BIN)/python: | $(APT)
	@echo "==> virtual environment in .venv"
	@$(PYTHON) -m venv .venv

.venv/.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo "==> locked Python dependencies"
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
	  --require-hashes -r requirements.lock | { grep --line-buffered -E '^(Collecting|Installing|Successfully)' || true; }
	@echo "==> hawser itself"
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-build-isolation --no-deps --config-settings editable_mode=compat -e .
	@touch $@
