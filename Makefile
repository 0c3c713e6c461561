# XinQiao. `make` installs, `make run` plays a month in one district, `make test` checks everything.
#
#   make run ROSTER=roster.zip SCORES=sheet.csv    use other files
#   make run STAY=1                                leave the gateway up afterwards
#   make dev                                       pytest and what else writing a plugin needs
#   make test ARGS="-k door -x"                    hand arguments to pytest
#   make sabotage                                  take out each control and see its tests go red
#   make replay ARGS="--seed 7 --days 365"         play a random year of referrals with crashes

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
ARGS   ?=
PLUGINS := $(patsubst %/pyproject.toml,%,$(sort $(wildcard plugins/*/pyproject.toml)))
PROJECTS := pyproject.toml $(PLUGINS:%=%/pyproject.toml)
# The commit whose contracts must not be broken; nothing is compared where there is none.
AGAINST ?= main

.DELETE_ON_ERROR:
.PHONY: install dev run test lint bench replay sabotage generate check requirements clean

install: $(VENV)/.installed

dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "XinQiao needs Python 3.11 or newer: install it (Debian, Ubuntu: apt-get install python3)," >&2; \
	  echo "or name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "this Python cannot make a virtual environment. Install what is missing:" >&2; \
	  echo "  Debian, Ubuntu: apt-get install python3-venv    Fedora: dnf install python3-pip" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.requirements: requirements.txt | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.requirements $(PROJECTS)
	$(PIP) install --quiet --no-deps --no-build-isolation -e . $(PLUGINS:%=-e %)
	@# pip compiles a wheel, but not what it links to: where Python may not write bytecode, each start would compile all.
	$(BIN)/python -m compileall -q core plugins
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.installed
	$(PIP) install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

run: $(VENV)/.installed
	@$(BIN)/xinqiao demo $(if $(ROSTER),--roster "$(ROSTER)") $(if $(SCORES),--scores "$(SCORES)") $(if $(STAY),--stay)

# Hundreds of databases are made and thrown away: in memory where there is room, for a disk takes 20 times as long.
MEMORY := $(shell [ "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 4000000 ] 2>/dev/null && echo /dev/shm)

test: lint
	@room=$$(mktemp -d $(MEMORY:%=-p %) -t xinqiao-tests.XXXXXX) && trap 'rm -rf "$$room"' EXIT && \
	  chmod 755 "$$room" && TMPDIR="$$room" $(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf lint
	@if git rev-parse --verify --quiet "$(AGAINST):protos" >/dev/null 2>&1; then \
	  echo "$(BIN)/buf breaking --against .git#ref=$(AGAINST)"; \
	  $(BIN)/buf breaking --against ".git#ref=$(AGAINST)"; \
	else echo "buf breaking: no commit $(AGAINST) to compare with"; fi

bench: $(VENV)/.dev
	$(BIN)/python tests/bench $(ARGS)

replay: $(VENV)/.dev
	$(BIN)/python tests/tools/replay.py $(ARGS)

# Takes out each control of tests/sabotage/controls.yaml in a copy of the tree; its tests must go red.
sabotage: $(VENV)/.dev
	$(BIN)/python -m tests.sabotage $(ARGS)

generate: $(VENV)/.dev
	$(BIN)/buf format -w
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python protos/generate.py

# What CI runs.
check:
	.ci/run

# After a change of dependencies: new pinned, hashed, host-free requirement files.
requirements: $(VENV)/.dev
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml \
	  $(PLUGINS:%=%/pyproject.toml) --no-emit-package xinqiao \
	  --extra postgresql --group build -o requirements.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml \
	  --group dev --group build -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
