# What a person does with a checkout. Each target sets up first what it needs; a second run starts at once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo test learn lint bench chaos kafka clean

help: ## say what the targets do
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(READY) ## make .venv with the project, its tools and a Java for the local Kafka

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
		|| { echo "ddstream needs Python 3.11 to 3.13: install one and say 'make PYTHON=python3.11 ...'"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "ddstream needs Python's venv module: install it (Debian: python3-venv)"; exit 1; }
	@echo "setup: a virtual environment in .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "setup: the dependencies of constraints.txt (about 3 GB with torch; minutes the first time)"
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet -c constraints.txt -e '.[dev,local]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null \
		|| { echo "opencv-python cannot load: install its system parts (Debian: apt-get install libgl1 libglib2.0-0)"; exit 1; }
	@touch $@
	@echo "setup: done"

demo: $(READY) ## train on handwritten digits and stream them through a local Kafka
	@$(BIN)/python examples/digits/demo.py

test: $(READY) ## run the tests, on a real Kafka; a process a core, each with a broker
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

learn: $(READY) ## teach every kind of service in full, for about two hours
	@$(BIN)/python -m pytest tests/learning --full

lint: $(READY) ## ruff, mypy --strict, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY) ## measure against bare loops on the same cores
	@$(BIN)/python -m tests.bench

chaos: $(READY) ## kill, stop, freeze, poison and overload a whole system, for about an hour
	@$(BIN)/python -m tests.chaos

kafka: $(READY) ## run a local Kafka at localhost:9092 until Ctrl-C; its data is in build/kafka
	@$(BIN)/ddstream kafka up --dir build/kafka --port 9092 --foreground

clean: ## remove caches and what was built; .venv stays
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find ddstream tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
