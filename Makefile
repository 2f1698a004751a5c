# Everything a fresh machine needs is Python 3.11 and pip: each target makes .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
VLLM_STAMP := .venv-vllm/.installed

.PHONY: install demo test test-slow test-vllm lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The whole recipe on a real 135M model: curate, train, evaluate at every budget, report.
demo: install
	$(BIN)/python -m jobs.reproduce experiment=demo

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Set-up and every check of the default lane, under 15 minutes on two cores.
test: lint
	$(BIN)/pytest

# Kills, real pools and whole recipes: minutes each.
test-slow: install
	$(BIN)/pytest -m 'slow and not vllm and not gpu'

clean:
	rm -rf .venv .venv-vllm build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
