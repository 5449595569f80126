# kvgate's everyday commands. `make run` and `make test` work on a fresh machine with Python 3.11 and a package index.

VENV   := .venv
BIN    := $(VENV)/bin
LISTEN ?= 127.0.0.1:6380
DATA   ?= kvgate-data
ARGS   ?=
EXAMPLES ?= 2000
CACHE  := .cache/clients

# pip reads dependency groups since 25.1, Debian 12 ships 23; so pip is renewed inside the environment. An extra would not
# need that, but would put the tests' tools into the published package. The checkout is installed editable: what runs is
# what is edited, and the entry points of the adapters are found.
PIP := $(BIN)/python -m pip --disable-pip-version-check

# New packages are found at installation, so their appearance asks for another one.
BUILD_INPUTS := pyproject.toml setup.py kvgate/lane/_native.c kvgate/model/_short.c backends/kvgate_lmdb/_syncer.c $(wildcard backends/*/__init__.py compat/*/__init__.py)

.PHONY: help run run-demo run-tikv test check packages bench bench-short clients apps compat histories versioned fuzz clean
.DEFAULT_GOAL := help

help:
	@echo "make run       the gate on $(LISTEN), with the embedded store in ./$(DATA)"
	@echo "make run-demo  the gate on $(LISTEN) before two redis-servers and the embedded store"
	@echo "make run-tikv  the gate on $(LISTEN) before a TiKV-protocol server for tests (builds it: needs Go)"
	@echo "make test      linter, types and all tests (what this machine lacks is skipped by name)"
	@echo "make check     linter and types only"
	@echo "make clients   client libraries in five languages on every backend (ARGS='--only redis-rs --backend tikv')"
	@echo "make apps      Django, Flask, Celery, RQ and others behind the gate, and what works where (ARGS='--only Celery')"
	@echo "make compat    a long search for differences from a real Redis, before every store (ARGS='--examples 5000 --only H.*')"
	@echo "make histories long histories of concurrent clients under faults, checked for linearizability (ARGS='--minutes 30')"
	@echo "make versioned many generated commands on versioned keys, on each backend, beside a model (EXAMPLES=20000)"
	@echo "make fuzz      libFuzzer and sanitizers on the paths in C, beside the Python ones (ARGS='--minutes 60 --side client')"
	@echo "make bench     figures and plots beside Twemproxy, HAProxy and no proxy (docs/benchmarks.md); most of an hour"
	@echo "make bench-short  the same in less than ten minutes, for every day (.cache/bench/benchmarks.md)"
	@echo "make clean     removes the environment, caches and builds; never ./$(DATA)"

run: $(VENV)/.run
	@exec $(BIN)/kvgate serve --listen $(LISTEN) --data-dir $(DATA) $(ARGS)

run-demo: $(VENV)/.run
	@exec $(BIN)/python demo/run.py --listen $(LISTEN) $(ARGS)

run-tikv: $(VENV)/.test
	@exec $(BIN)/python -m tests.tikv.run --listen $(LISTEN) $(ARGS)

test: $(VENV)/.test packages check
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

packages:
	@.ci/packages

bench: $(VENV)/.test packages
	$(BIN)/python -m bench all --write docs/benchmarks.md $(ARGS)

bench-short: $(VENV)/.test packages
	@mkdir -p .cache/bench
	$(BIN)/python -m bench all --short --rounds 1 --write .cache/bench/benchmarks.md $(ARGS)

clients: $(VENV)/.test packages
	$(BIN)/python -m tests.clients.run $(ARGS)

apps: $(VENV)/.test packages
	$(BIN)/python -m tests.apps.run $(ARGS)

compat: $(VENV)/.test packages
	$(BIN)/python -m tests.compat.run $(ARGS)

histories: $(VENV)/.test
	$(BIN)/python -m tests.linearizability.run $(ARGS)

versioned: $(VENV)/.test packages
	VERSIONED_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/versioned/test_model.py $(ARGS)

fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz.run $(ARGS)

clean:
	rm -rf $(VENV) .cache build dist *.egg-info kvgate/lane/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment whose Python is gone (an upgraded machine, a moved checkout) is made anew.
$(BIN)/python:
	@python=$$(.ci/find-python) && "$$python" -m venv --clear $(VENV)

$(VENV)/.run: $(BUILD_INPUTS) | $(BIN)/python
	@$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.test: $(BUILD_INPUTS) | $(BIN)/python
	@$(PIP) install --quiet --upgrade "pip>=25.1"
	@$(PIP) install --quiet --editable . --group test
	@touch $@ $(VENV)/.run
