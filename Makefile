.DEFAULT_GOAL := help
SHELL := bash
BIN := .venv/bin

##@ Start
.PHONY: help setup demo
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with everything one machine without a GPU needs
	@scripts/setup.sh

demo: setup ## From a real library's history to a gated, served model; REPO=URL-or-path CUTOFF=YYYY-MM-DD for your own
	@REPO='$(REPO)' CUTOFF='$(CUTOFF)' NAME='$(NAME)' STORE='$(STORE)' examples/demo/run.sh

##@ Checks: `check` is static; `test` is unit + integration (what CI runs); `e2e` drives the product as a person does
.PHONY: check test test-unit e2e bench generate clean
check: setup ## Format, lint, strict types, import contracts, generated files
	$(BIN)/ruff format --check operator tests benchmarks
	$(BIN)/ruff check operator tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@fresh=$$(mktemp -d) && $(BIN)/repoexpert crd --output-dir $$fresh >/dev/null && diff -r $$fresh crds && rm -r $$fresh || { echo 'crds/ is not what the models say: make generate'; exit 1; }

test-unit: setup ## Unit tests alone, under half a minute
	$(BIN)/pytest -q tests/unit

test: setup ## Unit and integration tests: real Git, real sandboxes, real training and serving of a small model
	@scripts/setup.sh apt chromium
	$(BIN)/pytest -q tests/unit tests/integration tests/slow

e2e: demo ## The demo from end to end, then what a person does with it
	$(BIN)/pytest -q tests/e2e

bench: setup ## Benchmarks, each figure beside its bound; HISTORY=path-to-a-git-repository for the mining benchmark
	@for name in dataset rollout sandbox; do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done
	@echo "== mining"; $(BIN)/python -m benchmarks.mining $(or $(HISTORY),.)

generate: setup ## Write the generated files: CRDs, pinned constraints
	$(BIN)/repoexpert crd --output-dir crds
	uv pip compile -q --no-emit-index-url --no-annotate --no-header --extra local --extra dev --python-version 3.11 pyproject.toml -o constraints.txt

clean: ## Remove what was built in the checkout; caches outside stay
	rm -rf .venv .demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
