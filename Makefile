PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ENGINES := $(VENV)/.engines
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PEERS := .venv-peers

.PHONY: demo test engines check docs torture bench bench-peers clean train-model

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) --group dev --editable .
	touch $@

$(ENGINES): $(READY)
	$(INSTALL) --group engines
	touch $@

test: $(READY)
	$(BIN)/python -m compileall -q retrain_trigger
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not spark"

engines: $(ENGINES)
	$(BIN)/python -m pytest -m spark tests/engines

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python docs/generate.py

torture: $(READY)
	$(BIN)/python torture $(TORTURE)

bench: $(READY)
	$(BIN)/python benchmarks/bench.py --json build/bench.json $(BENCH)

bench-peers: $(PEERS)/scipy/.ready $(PEERS)/nannyml/.ready $(PEERS)/evidently/.ready

$(PEERS)/%/.ready: benchmarks/peers/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

demo: $(READY)
	$(BIN)/python examples/housing/play.py

train-model:
	$(BIN)/python examples/housing/train.py

clean:
	if [ -d demo ]; then chmod -R u+w demo; fi
	rm -rf demo build dist .venv $(PEERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
