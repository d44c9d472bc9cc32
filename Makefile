# Set-up and the house's commands. Every target installs what it needs first, once; the second run is quick.
# Stamps: .cache/apt.<hash of the package list>, .venv/.stamp (newer than the lock file and pyproject.toml).

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: setup demo test check bench clean test-vm lock help

PYTHON ?= /usr/bin/python3
BIN := .venv/bin
# The packages are named by their links in hawser/, or the linter takes them for the banned top-level names.
SOURCES := hawser $(wildcard hawser/*/) tests bench examples

DEBS_RUN := python3 python3-venv libnftables1 procps
DEBS_TEST := nftables iproute2 iputils-ping busybox-static curl systemd
DEBS_BENCH := crun
DEBS := $(DEBS_RUN) $(DEBS_TEST) $(DEBS_BENCH)
APT_STAMP := .cache/apt.$(shell echo '$(DEBS)' | sha256sum | cut -c1-12)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: setup ## the whole stack on this machine, end to end
	@$(BIN)/hawser demo

test: setup ## every test, the real kernel included
	@$(BIN)/pytest -q

check: setup ## lint, types, imports
	@echo "==> ruff"; $(BIN)/ruff check $(SOURCES) && $(BIN)/ruff format --check -q $(SOURCES)
	@echo "==> mypy"; $(BIN)/mypy
	@echo "==> imports"; $(BIN)/pytest -q tests/test_architecture.py

bench: setup ## figures beside their peers, written to bench/RESULTS.md
	@$(BIN)/python -m bench

clean: ## remove what set-up made in this directory (Debian packages stay)
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: $(BIN)/python ## rewrite requirements.lock from pyproject.toml: versions and hashes, no index
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --generate-hashes --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

setup: $(APT_STAMP) .venv/.stamp

$(APT_STAMP):
	@mkdir -p .cache
	@missing=""; for p in $(DEBS); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "==> Debian packages:$$missing"; \
	  [ "$$(id -u)" = 0 ] || { echo "make: installing Debian packages needs root; run: sudo apt-get install$$missing"; exit 1; }; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	@touch $@

$(BIN)/python: | $(APT_STAMP)
	@echo "==> virtual environment in .venv"
	@$(PYTHON) -m venv .venv

.venv/.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo "==> locked Python dependencies"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock \
	  | grep -E '^(Collecting|Installing|Successfully)' || true
	@$(BIN)/python -m pip check --disable-pip-version-check > /dev/null || true
	@echo "==> hawser itself"
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-build-isolation --no-deps --config-settings editable_mode=compat -e .
	@touch $@
