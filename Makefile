# Everything runs in .venv, which the first target makes from nothing but python3 and pip.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --disable-pip-version-check --quiet

# The tests compare with torch, jax, optax and autograd where those are installed. In CI they must be.
ifneq ($(CI)$(PEERS),)
TEST_EXTRAS := data,plot,dev,peers
export MINIGRAD_REQUIRE_PEERS := 1
else
TEST_EXTRAS := data,plot,dev
endif

.PHONY: help demo test test-long mutants bench docs clean

help:
	@echo "make demo       train a net on real images, check its gradients against SymPy, leave pictures in runs/"
	@echo "make test       ruff, mypy and the tests (PEERS=1: compare with torch, jax, optax and autograd too)"
	@echo "make test-long  the same, with the long tests"
	@echo "make mutants    every gradient rule made wrong in every small way: do the tests notice? (an hour or so)"
	@echo "make bench      speed, beside the peers in the same run"
	@echo "make docs       write the formulas into the docs anew, and build the site in build/site"
	@echo "make clean      remove the virtual environment and everything made"

demo: $(VENV)/.installed-data,plot
	$(BIN)/minigrad train digits

test: $(VENV)/.installed-$(TEST_EXTRAS)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto --dist worksteal $(PYTEST_ARGS)

test-long: PYTEST_ARGS := -m "long or not long"
test-long: test

mutants: $(VENV)/.installed-data,plot,dev,peers
	$(BIN)/python tests/mutants.py

bench: $(VENV)/.installed-data,plot,peers
	$(BIN)/minigrad bench
	set -e; for measure in batch width depth; do $(BIN)/minigrad bench --scaling $$measure; done
	$(BIN)/minigrad bench optimizers

docs: $(VENV)/.installed-data,plot,docs
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/reference.py
	$(BIN)/mkdocs build --quiet --strict

# A stamp for each set of extras: installed once, and again when the metadata changes.
$(VENV)/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing minigrad[$*] into $(VENV) (the first time takes a few minutes)"
	@$(if $(findstring peers,$*),$(PIP) torch==2.13.0)
	@$(PIP) --editable '.[$*]' --config-settings editable_mode=compat
	@touch $@

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv failed: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
