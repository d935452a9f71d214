# Everything a contributor types. `make` alone lists it; CONTRIBUTING.md explains it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
LAB := $(BIN)/python tests/lab/cloud/lab
MIGRATION_LAB := $(BIN)/python tests/lab/migration/lab
HOST_LAB := $(BIN)/python tests/lab/hosts/lab
FULL_LAB := $(BIN)/python tests/lab/full/lab
# Two for each core: the tests of the screens mostly wait.
WORKERS ?= $(shell echo $$((2 * $$(nproc))))
ARGS ?=
# pytest's exit status when ARGS leave no test of a part; with no ARGS that is a failure.
NONE_CHOSEN = $(if $(ARGS),5,none)

.PHONY: help setup demo test lint types imports pytest snapshots bench lab lab-down lab-host lab-host-down lab-migration lab-migration-down lab-full lab-full-down test-lab test-full lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s  %s\n", $$1, $$2 }' Makefile

setup: ## make .venv what requirements.lock says; at once when nothing changed
	@.ci/setup.sh

demo: setup ## the console on the embedded cloud; ARGS="…" is passed on
	@exec $(BIN)/vgpu-console --demo $(ARGS)

test: lint types imports pytest ## lint, types, import contracts and every test that needs no other server

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy --strict
	@$(BIN)/mypy

imports: setup ## import-linter: who may import whom
	@$(BIN)/lint-imports --cache-dir .cache/import-linter

pytest: setup ## the tests alone; ARGS="-k quota" is passed on
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup $(ARGS)

snapshots: setup ## accept the screens' pictures as they are drawn now
	@$(BIN)/pytest -q tests/screens --snapshot-update $(ARGS)

bench: setup ## the benchmark; prints ratios, takes minutes
	@$(BIN)/python -m tests.bench $(ARGS)

lab: setup ## bring up a real Keystone, Placement and Nova on loopback
	@$(LAB) setup
	@$(LAB) up
	@$(BIN)/python -m tests.lab.node_xml .lab/cloud 15000

lab-down: setup ## take it down
	@$(LAB) down

lab-host: setup ## boot a GPU host of one's own: real libvirt, mediated devices, SR-IOV; ARGS="--vfs 8"
	@$(HOST_LAB) setup
	@$(HOST_LAB) up $(ARGS)

lab-host-down: setup ## end it
	@$(HOST_LAB) down

lab-migration: setup ## bring up two libvirt daemons between which guests migrate live; needs root or sudo
	@$(MIGRATION_LAB) setup
	@$(MIGRATION_LAB) up

lab-migration-down: setup ## end them
	@$(MIGRATION_LAB) down

lab-full: setup ## bring up a cloud with two GPU hosts that migrate guests live; needs root or sudo, 5 GiB; ARGS="--vfs 8"
	@$(FULL_LAB) setup
	@$(FULL_LAB) up $(ARGS)

lab-full-down: setup ## end it
	@$(FULL_LAB) down

# The tests bring up a lab of their own and take it down; the trap is for a run that is killed before it can.
test-lab: setup ## the tests on a real cloud of their own; LAB_KEEP=1 leaves it up between runs
	@$(LAB) setup
	@$(HOST_LAB) setup
	@[ "$${LAB_KEEP:-}" = 1 ] || trap '$(MIGRATION_LAB) down >/dev/null; LAB_HOME=.lab/test-cloud $(LAB) down >/dev/null; for host in "" -gw0 -gw1 -gw2 -gw3; do $(HOST_LAB) down --name $${HOST_LAB_TEST_NAME:-gpu-test}$$host >/dev/null; done' EXIT; \
		$(BIN)/pytest -q -m 'not alone' -n 2 --dist loadgroup tests/lab $(ARGS) || [ $$? = $(NONE_CHOSEN) ]; \
		$(BIN)/pytest -q -m alone tests/lab $(ARGS) || [ $$? = $(NONE_CHOSEN) ]

test-full: setup ## live migrations of a real Nova, and all the ways in which they fail; needs root or sudo, a quarter of an hour
	@$(FULL_LAB) setup
	@[ "$${LAB_KEEP:-}" = 1 ] || trap '$(FULL_LAB) down >/dev/null' EXIT; \
		$(BIN)/pytest -q -s tests/lab/full_tests $(ARGS)

lock: setup ## resolve requirements.lock anew, with the newest versions that pyproject.toml allows
	@.tools/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links \
		--extra libvirt --group dev pyproject.toml --output-file requirements.lock

clean: ## remove the environments and everything that was built
	@if [ -d .lab ] && [ -x $(BIN)/python ]; then $(LAB) down || true; $(HOST_LAB) down --all || true; $(MIGRATION_LAB) down || true; $(FULL_LAB) down || true; fi
	@rm -rf .venv .tools .lab .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis snapshot_report.html
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
