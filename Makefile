# `make run` trains CoNRec on ML-100K and prints its table; `make test` runs the tests. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test clean
run: $(VENV)/.installed
	$(BIN)/python run_recbole_conrec.py --model=CoNRec

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

# Python 3.12 and later: RecBole's pin of ray has no wheel there, so RecBole goes in without its dependencies
# (setup.cfg lists them); only recbole.quick_start, which we do not use, imports ray.
# A .venv of another Python than the one asked for is made anew.
ifneq ($(wildcard $(VENV)/.installed),)
ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info[:2])'),$(shell $(BIN)/python -c 'import sys; print(sys.version_info[:2])'))
.PHONY: $(VENV)/.installed
endif
endif
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: '$(PYTHON)' is not installed; say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else \
	  f"error: recbole-conrec needs Python 3.10 to 3.13, and {sys.executable} is {v[0]}.{v[1]}; say make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then \
	  $(BIN)/python -m pip install --quiet --no-deps recbole==1.2.1; fi
	touch $@

clean:
	rm -rf $(VENV)
