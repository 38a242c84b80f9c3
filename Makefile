# The two commands of the README are `make up` and `make test`; `make` alone lists the targets.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SCALE ?= 1
KILLS ?= 20
CASES ?= 100000
SEED ?= 1
HOURS ?= 10
STAMP := $(VENV)/.installed-$(shell sha256sum requirements/dev.txt | cut -c1-16)

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate -q

.DEFAULT_GOAL := help
.PHONY: help venv up test check lint types imports unit browser-deps conformance bench bench-scale lock chaos chaos-slice chaos-kills api-cases simulation bugs system screens

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

venv: $(STAMP) ## .venv with everything installed
	@cd / && $(abspath $(BIN))/python -c 'import control_plane, sys; sys.exit(control_plane.__path__[0] != "$(CURDIR)/control_plane")' 2>/dev/null \
	  || (cd $(CURDIR) && $(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .)

$(STAMP):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.txt
	rm -f $(VENV)/.installed-*
	touch $@

up: venv ## example models, two dev servers, the control plane; Ctrl-C ends all of it
	@$(BIN)/tfsctl up

test: venv browser-deps check ## lint, types, import contracts and every test
	$(BIN)/python -m pytest

check: lint types imports

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

unit: venv ## the domain's tests alone
	$(BIN)/python -m pytest tests/unit

browser-deps:
	@command -v chromium >/dev/null || ! ls tests/browser/test_*.py >/dev/null 2>&1 \
	  || { apt-get update -qq && apt-get install -y -qq chromium fonts-wqy-microhei >/dev/null; }

screens: venv browser-deps ## take the pictures of docs/dashboard.md again
	$(BIN)/python -m tests.browser.screens

chaos-slice: venv ## a fleet under fire: two seeds on each database, at most 5 minutes
	@for store in sqlite postgres; do for seed in 1 2; do \
	  $(BIN)/python -m tests.chaos --store $$store --seed $$seed --seconds 25 || exit 1; done; done

chaos: venv ## the same for longer, server faults and leader kills; SCALE=10 for ten times as much
	@for store in sqlite postgres; do for seed in $$(seq 11 $$((10 + 5 * $(SCALE)))); do \
	  $(BIN)/python -m tests.chaos --store $$store --seed $$seed --seconds 60 || exit 1; done; done
	$(BIN)/python -m tests.chaos --calm --rate 200 --seconds $$((60 * $(SCALE)))
	$(BIN)/python -m tests.chaos.server_faults --faults $$((20 * $(SCALE)))
	$(BIN)/python -m tests.chaos.leader_kills --kills $$((20 * $(SCALE)))

chaos-kills: venv ## kill -9 at every failpoint, KILLS times each, on both databases (about an hour)
	$(BIN)/python -m tests.chaos.kills --runs $(KILLS) --store sqlite
	$(BIN)/python -m tests.chaos.kills --runs $(KILLS) --store postgres

bug-%: venv
	$(BIN)/python -m tests.chaos.bugs $*

simulation: venv ## the control plane in virtual time: HOURS of it (10 unless given), each hour of another seed
	$(BIN)/python -m tests.simulation --hours $(HOURS)

bugs: venv ## each planted bug is noticed by what should notice it, some minutes; make bug-NAME for one
	$(BIN)/python -m tests.chaos.bugs

system: venv ## as root on Debian: nginx, two replicas, PostgreSQL and two dev servers, each killed in turn (3 minutes)
	$(BIN)/python -m tests.system

api-cases: venv ## CASES requests made from the OpenAPI document against a running control plane (hours); SEED=1
	$(BIN)/python -m tests.contract.cases --cases $(CASES) --seed $(SEED)

bench: venv ## the figures, each a ratio measured in one run
	$(BIN)/python -m bench

bench-scale: venv ## many servers and a large registry (15 minutes on a machine of its own)
	$(BIN)/python -m bench.scale
	$(BIN)/python -m bench.registry

lock: ## pin the requirements again, with hashes and without index addresses (needs uv)
	$(LOCK) --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt --excludes requirements/excluded-from-runtime.txt \
	  pyproject.toml -o requirements/runtime.txt
	$(LOCK) -c requirements/dev.txt --no-deps requirements/stubs.in -o requirements/stubs.txt
