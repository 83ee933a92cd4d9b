# `make help` lists what there is
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# On Linux PyPI's torch brings CUDA; for a smaller CPU build:
#   make setup TORCH_INDEX="--index-url https://download.pytorch.org/whl/cpu"
TORCH_INDEX ?=
# the quick half: signal processing, files, formats, the executor's operations, checkpoints
QUICK := tests/runtime/dsp tests/runtime/store tests/runtime/media tests/export/mil/ops tests/training/weights

# Swift 6: the one in the PATH, else the folder that runtime/swift/toolchain.sh makes
SWIFT ?= $(firstword $(shell command -v swift) $(wildcard $(or $(EDGE_SWIFT_ROOT),$(HOME)/.cache/edge-export/swift-6)/bin/swift))

.PHONY: help setup demo fast test lint docs fuzz gpu-check test-operations test-swift test-wheel goldens clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## the virtual environment .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "edge-export needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@# torch first and alone, so that nothing else chooses its build
	$(BIN)/python -m pip install --quiet $(TORCH_INDEX) torch==2.13.0 "numpy<2.4"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[quality]" || \
	  echo "no C compiler for pesq: judging trained vocoders (extra quality) is left out" >&2
	@# librosa compiles its loops at its first call, for a minute: here once, not in every process of the tests
	@$(BIN)/python -c "import librosa, numpy; librosa.griffinlim(librosa.feature.melspectrogram(y=numpy.ones(8192, 'f4')), n_iter=1, n_fft=254)" || true
	@touch $@

demo: setup  ## the whole way on one spoken sentence, ending in a table; writes demo/
	$(BIN)/edge-export demo --out demo --overwrite

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

fast: lint  ## lint, types and the quick half of the suite, before every commit
	EDGE_TEST_PARTS=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 $(QUICK)

test: lint  ## lint, types and the test suite
	@# no part may be skipped because a library is missing (tests/conftest.py)
	@# two processes of one thread each: more threads than cores only wait for each other
	EDGE_TEST_PARTS=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

docs: setup  ## the pages under site/, strictly: a dead link fails
	@# mkdocs-material's authors announce their next tool on every build
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --clean

fuzz: setup  ## 4,000 damaged and hostile files against every reader (300 of them are in the suite)
	EDGE_FUZZ_CASES=4000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 tests/fuzz

# every operation test of the coremltools wheel against our executor (10 to 25 minutes; a sample is in the suite)
test-operations: setup  ## every operation test of the coremltools wheel, 10 to 25 minutes
	$(BIN)/python tests/export/mil/operations/run.py --jobs 2

gpu-check: setup  ## all that needs an Nvidia GPU, as a table, five minutes; says so where there is none
	$(BIN)/python -m edge_export.gpu_check

test-wheel: setup  ## build the wheel, install it in a fresh environment, run a bundle there
	$(BIN)/python tests/wheel/run.py

test-swift: setup  ## the Swift package against goldens, numpy's numbers and reference packs
	@test -n "$(SWIFT)" || \
	  { echo "no Swift 6 here; on Debian and Ubuntu this makes one: sudo runtime/swift/toolchain.sh" >&2; exit 2; }
	$(BIN)/python -m tests.swift_packs .build/packs
	$(SWIFT) format lint --strict --recursive Package.swift runtime/swift docs/ios
	$(SWIFT) build --build-tests --configuration release
	$(SWIFT) test --skip-build --configuration release

# golden arrays are remade by hand only, and the change reviewed
goldens: setup  ## remake the golden arrays, by hand and with a reason
	$(BIN)/python reference_data/generate.py

clean:  ## remove .venv and what make has written
	rm -rf $(VENV) demo site dist
