# make setup   the virtual environment .venv
# make demo    the whole way on one spoken sentence: export, proof, three pipelines, reference pack
# make test    lint, types and the test suite
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# On Linux PyPI's torch brings CUDA; for a smaller CPU build:
#   make setup TORCH_INDEX="--index-url https://download.pytorch.org/whl/cpu"
TORCH_INDEX ?=

.PHONY: setup demo test lint test-operations goldens clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "edge-export needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@# torch first and alone, so that nothing else chooses its build
	$(BIN)/python -m pip install --quiet $(TORCH_INDEX) torch==2.13.0 "numpy<2.4"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[quality]" || \
	  echo "no C compiler for pesq: judging trained vocoders (extra quality) is left out" >&2
	@touch $@

demo: setup
	$(BIN)/edge-export demo --out demo --overwrite

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

test: lint
	@# no part may be skipped because a library is missing (tests/conftest.py)
	@# two processes of one thread each: more threads than cores only wait for each other
	EDGE_TEST_PARTS=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

# every operation test of the coremltools wheel against our executor (10 to 25 minutes; a sample is in the suite)
test-operations: setup
	$(BIN)/python tests/export/mil/operations/run.py --jobs 2

# golden arrays are remade by hand only, and the change reviewed
goldens: setup
	$(BIN)/python reference_data/generate.py

clean:
	rm -rf $(VENV) demo
