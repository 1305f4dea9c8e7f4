# `make` lists what there is. Everything runs from backend/, in the environment that `setup` makes.
.DEFAULT_GOAL := help
.PHONY: help setup demo up test fuzz check fix lock migrate clean bench verify-ops try-images docs sdk
BIN := .venv/bin
# What make leaves in the environment would reach the nested make of a test run.
unexport MAKEFLAGS MFLAGS MAKELEVEL

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## Install everything into backend/.venv; nothing to do when nothing changed
	@backend/scripts/setup

demo: setup ## Run the product end to end, with a whole internet in a box, and stop it again
	@cd backend && exec $(BIN)/inboxgrove demo

up: setup ## Run the product until Ctrl-C
	@cd backend && exec $(BIN)/inboxgrove up

test: setup ## Run the tests, with a PostgreSQL and a Valkey of their own
	cd backend && $(BIN)/pytest -n auto

fuzz: setup ## Hostile input from the OpenAPI document: more examples, several seeds, some minutes
	cd backend && FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-300} FUZZ_SEEDS=$${FUZZ_SEEDS:-1,2,3} \
		RLS_TRANSACTIONS=$${RLS_TRANSACTIONS:-20000} $(BIN)/pytest -n 4 -rP \
		tests/security/test_schemathesis.py tests/security/test_row_level_security.py

check: setup ## Format, lint, types, import rules, house rules, migrations
	cd backend && $(BIN)/ruff format --check .
	cd backend && $(BIN)/ruff check .
	cd backend && $(BIN)/mypy app sandbox
	cd backend && $(BIN)/lint-imports
	cd backend && $(BIN)/python -m app.embedded sh -c '$(BIN)/alembic upgrade head && $(BIN)/alembic check'
	cd backend && $(BIN)/python scripts/lint-migrations
	cd backend && $(BIN)/zensical build --strict
	cd backend && $(BIN)/pytest tests/architecture

docs: setup ## Build docs/ into backend/.data/site; a link that leads nowhere fails
	cd backend && $(BIN)/zensical build --strict

sdk: setup ## Generate the typed Python client into backend/.data/sdk
	cd backend && $(BIN)/python scripts/sdk

verify-ops: setup ## Check Dockerfile, compose, Kubernetes, nginx and Prometheus files without any of them
	@backend/scripts/verify-ops

try-images: setup ## Start the very commands of the images here, behind nginx, and look at them
	@backend/scripts/try-images

fix: setup ## Format, and repair what the linter can repair
	cd backend && $(BIN)/ruff format .
	cd backend && $(BIN)/ruff check --fix .

LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" $$uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --python-version 3.11 pyproject.toml

lock: ## Resolve pyproject.toml into requirements.txt (all) and requirements-run.txt (production)
	@cd backend && uv=.uv/bin/uv && [ -x $$uv ] || uv=uv; \
	$(LOCK) --group sandbox --group dev --output-file requirements.txt >/dev/null && \
	$(LOCK) --constraints requirements.txt --output-file requirements-run.txt >/dev/null && \
	! grep -nE '://|(^| )/|--(index|find)' requirements.txt requirements-run.txt

migrate: setup ## Bring the database of DATABASE_URL, or of the running stack, to the newest schema
	@cd backend && $(BIN)/inboxgrove migrate

clean: ## Delete the data of `make up` and `make demo`, and what tools cached
	@! (cd backend && $(BIN)/inboxgrove status 2>/dev/null) || { echo "Stop it first."; exit 1; }
	rm -rf backend/.data backend/.pytest_cache backend/.mypy_cache backend/.ruff_cache \
		backend/.import_linter_cache backend/.hypothesis
	find backend -name __pycache__ -not -path '*/.venv/*' -not -path '*/.uv/*' -prune -exec rm -rf {} +

bench: setup ## Measure what the documentation claims about speed
	cd backend && set -e; for file in benchmarks/[a-z]*.py; do \
		$(BIN)/python -m "benchmarks.$$(basename "$$file" .py)"; done
