# One word a thing. `make` alone lists them; the comment behind a target is its line in the list.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where the machine has certificates of its own (a company's proxy, say), they count; uv brings its own else.
UV := $(BIN)/uv $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),--system-certs)
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format docs bench bench-ladder bench-cache bench-changes bench-advisor check-staleness lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

setup: $(VENV)/.ready ## the virtual environment with everything in it (.venv)

# The stamp is newer than the lock and the project file, or the environment is brought up to date.
$(VENV)/.ready: requirements/installer.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tercet needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is not whole; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt requirements/installer.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## start real servers, fill the shop, climb the ladder (ladder.json, ladder.svg)
	@$(BIN)/tercet demo $(ARGS)

test: setup ## every test, on servers of its own
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: setup ## style, types, walls, spelling
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/codespell src examples tests docs bench *.md

format: setup ## put every file into the house's form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup ## the pages, warnings as errors (docs/_build)
	@$(BIN)/python -m sphinx -E -n -W --keep-going -q -b html docs docs/_build

bench: bench-ladder ## every benchmark; results go to bench/results, and into the README
	@$(BIN)/python bench/readme.py

bench-ladder: setup ## the ladder at its full size: 1,000,000 users, 5,000,000 orders
	@$(BIN)/tercet demo --users 1000000 --orders 5000000 --results bench/results $(ARGS)

# The peers live in an environment of their own: what they ask for is nobody's dependency.
bench-cache: setup .venv-bench/.ready ## the cache, locks and limits beside their peers, in .venv-bench (half an hour)
	@.venv-bench/bin/python bench/cache/run.py --results bench/results $(ARGS)
	@$(BIN)/python bench/cache/report.py --readme

bench-changes: setup ## changes, outbox and entities: latency, backlog, races, faults (half an hour)
	@$(BIN)/python bench/changes/run.py --results bench/results $(ARGS)
	@$(BIN)/python bench/changes/report.py --readme

# TPC-H and TPC-DS come out of a package of that environment.
bench-advisor: setup .venv-bench/.ready ## the advisor beside its peers and real indexes, in .venv-bench (two to three hours)
	@.venv-bench/bin/python bench/advisor/run.py --results bench/results $(ARGS)
	@$(BIN)/python bench/advisor/report.py --readme

.venv-bench/.ready: requirements/bench.txt pyproject.toml
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@$(UV) pip sync --quiet --python .venv-bench/bin/python --require-hashes requirements/bench.txt
	@$(UV) pip install --quiet --python .venv-bench/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

STEPS ?= 1000000
SEED ?= 1

check-staleness: setup ## under faults, no read is older than an acknowledged drop and the bound (STEPS, SEED)
	@$(BIN)/python bench/staleness/run.py --controls --steps $(STEPS) --seed $(SEED) --results bench/results

lock: setup ## resolve the dependencies anew, with hashes
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras --group test --group check --group docs --group build pyproject.toml --output-file requirements/dev.txt
	@echo uv | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - --output-file requirements/installer.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra demo --extra advisor --group build pyproject.toml requirements/bench.in --output-file requirements/bench.txt

clean: ## remove everything that was made (.venv, .tercet and caches)
	@if [ -x $(BIN)/tercet ]; then $(BIN)/tercet down >/dev/null 2>&1 || true; fi
	@rm -rf $(VENV) .venv-bench .tercet .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache docs/_build build dist ladder.json ladder.svg
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
