# Two commands do everything, set-up included:  make demo   make test
# They work in .venv, made on the first run, or in an interpreter of yours:
#   make test PYTHON=/path/to/python
VENV ?= .venv
DATA ?=
ARGS ?=
# Two workers, on one core as on many: the same tests in the same company.
WORKERS ?= 2

ifdef PYTHON
PY := $(PYTHON)
READY := $(PYTHON) tools/setup_env.py --check
else
BASE := $(firstword $(foreach name,python3 python3.12 python3.11 python3.10 python,\
	$(shell command -v $(name) 2>/dev/null)))
PY := $(VENV)/bin/python
READY := $(BASE) tools/setup_env.py --venv "$(VENV)"
endif

export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

# Workers deal out whole files in the order that tests/conftest.py gives. Each of their
# processes would compile every module again where the environment forbids to keep them.
PYTEST = PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n $(WORKERS) --no-loadscope-reorder

.PHONY: help env demo test test-fast lint
help:
	@echo 'make demo              pretrain, export, fine-tune and report, on generated images'
	@echo 'make demo DATA=FOLDER  the same on a folder of your own images'
	@echo 'make test              lint, links of the docs, all tests'
	@echo 'make test ARGS="-k momentum"   a part of the tests'
	@echo 'make test-fast         the tests that neither start a process nor train: minutes'
	@echo 'make lint              ruff and the links alone'
	@echo 'make env               the set-up alone (the others do it first)'
	@echo 'PYTHON=python          use this interpreter as it is instead of $(VENV)'

env:
ifndef PYTHON
	@test -n "$(BASE)" || { echo 'No python3 on the PATH: install Python 3.10, 3.11 or 3.12.'; exit 1; }
endif
	@$(READY)

demo: env
	$(PY) tools/demo.py $(if $(DATA),--data "$(DATA)")

test: lint
	$(PYTEST) $(ARGS)

test-fast: lint
	$(PYTEST) --fast $(ARGS)

lint: env
	$(PY) -m ruff check .
	$(PY) tools/check_links.py
