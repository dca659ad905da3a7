# Every target makes the environment it needs in .venv; Python 3.11 or newer, Git and make are all that must be there.

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
RUNTIME := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
PIP := $(PYTHON) -m pip --disable-pip-version-check --quiet
# One more than there are processors: many tests wait for a deadline, a server or a sandbox's end.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types format bench stress reference clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## watch a population evolve a bin-packing heuristic (about two minutes)
	$(BIN)/evogit demo

test: $(DEV) ## run the tests
	$(PYTHON) -m pytest -n $(WORKERS) --dist worksteal --ignore tests/functional/test_ray.py
	$(PYTHON) -m pytest tests/functional/test_ray.py # alone: on a machine that is busy Ray gives its workers up

check: lint types test ## everything that must be green before a commit

lint: $(DEV) ## is the code formatted and free of lint?
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV) ## do the types fit? (mypy --strict, tests too)
	$(BIN)/mypy

format: $(DEV) ## format the code and repair what lint can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(DEV) ## measure the framework's own cost
	$(PYTHON) -m benchmarks

stress: $(DEV) ## eight hosts share a remote while a chaos loop breaks things (several minutes)
	$(PYTHON) -m tests.stress.chaos --json stress.json

reference: $(DEV) ## write docs/reference.md from the command line's own help
	$(PYTHON) -m typer evogit.cli.app utils docs --name evogit --title "The evogit command" --output docs/reference.md

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: newer than pyproject.toml means installed. Each is written last, so an interrupted install is repeated.
$(RUNTIME): pyproject.toml | $(PYTHON)
	@echo "installing EvoGit into $(VENV) …"
	@$(PIP) install --editable .
	@touch $@

$(DEV): pyproject.toml | $(PYTHON)
	@echo "installing EvoGit and its development tools into $(VENV) …"
	@$(PIP) install --editable '.[dev]'
	@touch $(RUNTIME) $@

$(PYTHON):
	@for python in python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    rm -rf $(VENV); $$python -m venv $(VENV) && exit 0; rm -rf $(VENV); \
	  fi; \
	done; \
	echo "EvoGit needs Python 3.11 or newer with the venv module; tried python3, python3.13, python3.12, python3.11." >&2; \
	echo "On Debian and Ubuntu: apt install python3 python3-venv" >&2; \
	exit 1
