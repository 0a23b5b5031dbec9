# Sokoni. Needs make and Python 3.11 or newer; the rest is put into .venv by the first command.

PYTHON ?= $(shell for it in python3 python3.11 python3.12 python3.13; do \
	$$it -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$it && break; done)
BIN := .venv/bin

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.PHONY: help run demo test check bench simulate accept services web worker beat simulator migrate settings lock clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 12

run: .venv/.run  ## everything on this machine, until Ctrl-C
	@$(BIN)/python -m local.run

demo: .venv/.run  ## a market day told in the terminal, in under a minute
	@$(BIN)/python -m local.demo

test: .venv/.dev  ## the whole test suite
	@sh local/install.sh tools
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: .venv/.dev  ## lint, types, layers, the flows' proofs
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m flows.check >/dev/null

bench: .venv/.dev  ## hops and messages a second of the production servers, beside the floor
	@$(BIN)/python -m bench

simulate: .venv/.dev  ## seeded days of disaster: SEEDS=500 FROM=0, or EVENTS=all; what breaks tells its story
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),500) --from $(or $(FROM),0) $(if $(EVENTS),--events)

accept: .venv/.dev  ## record the dialogues anew; read the difference as a member would
	@$(BIN)/python -m pytest -q tests/flows --accept

services: .venv/.run  ## PostgreSQL and Valkey alone
	@$(BIN)/python -m local.services

web worker beat simulator: .venv/.run
	@$(BIN)/python -m local.run $@

web:        ## the web server alone
worker:     ## relay and worker alone
beat:       ## the scheduler alone
simulator:  ## the pretend world alone

migrate: .venv/.run  ## bring the database up to date
	@$(BIN)/python -m alembic upgrade head

settings: .venv/.run  ## every setting, its default, what it is for
	@$(BIN)/python -m settings

lock: .venv/.uv  ## compile the locks anew from requirements*.in
	@for it in requirements requirements-dev; do \
		.venv/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url \
			--python-version 3.11 $$it.in -o $$it.lock || exit 1; done

clean:  ## remove what the commands above made, except the data
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A stamp a lock. Running needs less than testing: while its lock is unchanged it leaves alone what
# testing put there.
.venv/.run: requirements.lock .venv/.uv
	@if [ ! -e .venv/.dev ] || [ requirements.lock -nt .venv/.dev ]; then \
		sh local/install.sh requirements.lock && rm -f .venv/.dev; fi
	@touch $@

.venv/.dev: requirements-dev.lock requirements.lock .venv/.uv
	@sh local/install.sh requirements-dev.lock
	@touch $@ .venv/.run

.venv/.uv:
	@sh local/install.sh environment "$(PYTHON)"
	@touch $@
