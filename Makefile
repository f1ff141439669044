# `make run` trains CoNRec on ML-100K and prints its table. `make test` runs the checks and all tests, `make test-fast` leaves
# the slow tests out, `make lint` runs the checks alone. Each sets up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread a process: as many tests as cores run beside each other, and figures do not depend on the number of cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: run test test-fast lint clean
run: $(VENV)/.installed
	$(BIN)/python run_recbole_conrec.py --model=CoNRec

test: lint
	$(PYTEST)

test-fast: lint
	$(PYTEST) -m "not slow"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

# Python 3.12 and later: RecBole's pin of ray has no wheel there, so RecBole goes in without its dependencies
# (setup.cfg lists them); only recbole.quick_start imports ray, and this package does not use it.
# A .venv of another Python than the one asked for is made again.
ifneq ($(wildcard $(VENV)/.installed),)
ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info[:2])'),$(shell $(BIN)/python -c 'import sys; print(sys.version_info[:2])'))
.PHONY: $(VENV)/.installed
endif
endif
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: '$(PYTHON)' is not installed; run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else \
	  f"error: recbole-conrec needs Python 3.10 to 3.13, and {sys.executable} is {v[0]}.{v[1]}; run make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,docs]'
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then \
	  $(BIN)/python -m pip install --quiet --no-deps recbole==1.2.1; fi
	touch $@

clean:
	rm -rf $(VENV)
