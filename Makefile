# Every command sets up what it needs: `make demo` on a fresh clone makes .venv, installs, and trains.
# Needed: python3 (3.11 or newer), make, a network for the first run. PYTHON=... picks another interpreter.

PYTHON ?= python3
JOBS   ?= 2# processes of make test
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check install
PINNED := --constraint constraints.txt

export PYTHONUTF8 := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: help setup demo test lint format docs docs-test serve bench bench-operations labs simt ptx ptx-table parity wasm gpu gpu-free nightly gradcheck-report reliability bounds mutants mutation constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       train a network on handwritten digits and show its test accuracy"
	@echo "make test       every test that needs neither a GPU nor another framework"
	@echo "make lint       formatting, style, types, import floors"
	@echo "make docs       build the site into site/;  make serve  show it while writing"
	@echo "make docs-test  tests of the built site and of its build"
	@echo "make bench      benchmarks against PyTorch, into benchmarks/RESULTS.md"
	@echo "make labs       run the experiments behind the pages again and store their results (a quarter of an hour)"
	@echo "make simt       CUDA kernels in the interpreter;  make ptx  compile them;  make gpu  check and time them on a GPU"
	@echo "make parity     compare with PyTorch"
	@echo "make gpu-free   all checks that a machine without a GPU can run"
	@echo "make nightly    the gradient checks with fresh seeds and 10,000 cases an op"
	@echo "make reliability  damaged files, crashes, processes, memory, numbers, packages: every promise in full"
	@echo "make wasm       compile kernels to WebAssembly and run them"
	@echo "make bounds     every operation with every index of its kernels checked"
	@echo "make mutants    plant bugs in kernels, one at a time, and count how many the tests catch"
	@echo "make clean      remove everything that make made"

# ---------------------------------------------------------------- set-up
# One stamp a set of packages; a stamp is renewed only when pyproject.toml or constraints.txt changes.

$(READY)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nbdl needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'  # the first pip that knows --group
	@mkdir -p $(READY) && touch $@

$(READY)/core: pyproject.toml constraints.txt $(READY)/venv
	$(PIP) $(PINNED) --editable '.[examples]'
	@touch $@

$(READY)/%: $(READY)/core
	$(PIP) $(PINNED) --group $*
	@touch $@

.PRECIOUS: $(READY)/%

setup: $(READY)/core $(READY)/dev

# ---------------------------------------------------------------- commands

demo: $(READY)/core
	$(BIN)/nbdl train mlp-digits

test: $(READY)/core $(READY)/dev
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal -m "not ptx and not parity and not wasm and not site and not gpu"

lint: $(READY)/core $(READY)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)/core $(READY)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Both languages at once: threads that wait must not spin while the other build has work.
docs: $(READY)/core $(READY)/docs $(READY)/wasm
	rm -rf site build/ko
	export OMP_WAIT_POLICY=passive; \
	$(BIN)/python -m mkdocs build --config-file mkdocs.ko.yml --site-dir build/ko & korean=$$!; \
	$(BIN)/python -m mkdocs build; english=$$?; \
	wait $$korean && [ $$english -eq 0 ]
	mv build/ko site/ko

serve: $(READY)/core $(READY)/docs $(READY)/wasm
	$(BIN)/python -m mkdocs serve --watch nbdl --watch docs/examples

docs-test: docs $(READY)/dev $(READY)/browser
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal -m site

bench: $(READY)/core $(READY)/parity
	$(BIN)/python -m benchmarks --write

# Every operation that PyTorch has too, into benchmarks/OPERATIONS.md.
bench-operations: $(READY)/core $(READY)/parity
	$(BIN)/python -m benchmarks operations --blocks 3 --write

# One thread and one process: the results are the same for any number, and so is the load on a shared machine.
labs: $(READY)/core
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.labs

simt: $(READY)/core $(READY)/dev
	$(BIN)/python -m pytest -m simt

ptx: $(READY)/core $(READY)/dev $(READY)/ptx
	$(BIN)/python -m pytest -m ptx

ptx-table: $(READY)/core $(READY)/dev $(READY)/ptx
	$(BIN)/python -m tests.cuda_table --write

parity: $(READY)/core $(READY)/dev $(READY)/parity
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal -m parity

wasm: $(READY)/core $(READY)/dev $(READY)/wasm
	$(BIN)/python -m pytest -m wasm

# Versions, every operation against float64, compute-sanitizer, timings beside PyTorch and CuPy where they are installed:
# into benchmarks/RESULTS-CUDA.md, in under ten minutes.
gpu: $(READY)/core $(READY)/dev $(READY)/ptx
	$(BIN)/python -m benchmarks.cuda
	$(BIN)/python -m pytest -m gpu

gpu-free: lint test simt ptx parity wasm docs-test

nightly: $(READY)/core $(READY)/dev
	$(BIN)/nbdl gradcheck --examples 10000 --seed $$(date +%Y%m%d)

# Damaged files, crashes, caches, processes, memory, numbers, large arrays, packages, in full: two hours, most of it the
# long training. `make reliability AREAS="files saving"` proves some of them.
reliability: $(READY)/core $(READY)/dev
	$(BIN)/python -m tests.reliability $(AREAS)

bounds: $(READY)/core $(READY)/dev
	$(BIN)/python -m tests.reliability bounds

gradcheck-report: $(READY)/core $(READY)/dev
	$(BIN)/nbdl gradcheck --examples 100 --json docs/reports/gradcheck.json

mutation: mutants

mutants: $(READY)/core $(READY)/dev
	$(BIN)/python -m tests.mutation

# Newer versions of everything: resolve without the old constraints, then write down what came. The nvidia packages that
# matter are pinned in pyproject.toml; the others must follow the build of PyTorch that a machine gets.
constraints: $(READY)/venv
	$(PIP) --upgrade --upgrade-strategy eager --editable '.[examples]' --group dev --group docs --group ptx --group parity --group wasm --group browser
	@{ sed '/^[^#]/,$$d' constraints.txt; \
	   $(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' | grep -v '^nvidia-' | sed 's/+.*//' | LC_ALL=C sort -f; \
	 } > constraints.new && mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) site build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find nbdl tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
