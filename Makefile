# Each target works alone on a fresh clone: it makes .venv, installs what it needs
# with the versions of constraints.txt, and does its job. A second call installs nothing.
#
#   make demo                        paint a picture
#   make demo PROMPT="a blue car on the sand"
#   make test                        the tests, then every notebook of the book
#   make test ARGS="-k schedule -x"  some tests, no notebooks
#   make full                        the tests at the size of SD 1.5: 14 GB of memory, some minutes
#   make bench                       measure speed and memory against other programs: an idle machine, an hour
#   make lint                        ruff (rules and format) and mypy: what pyproject.toml asks for
#   make fuzz                        some 250,000 hostile inputs for the readers of files
#   make mutants                     break the core in a few hundred ways; do the tests see it?
#   make seeds                       run the chapters with ten other seeds: which claims were luck?
#   make book                        open the book in JupyterLab; your exercises are in my/
#   make book ARGS=3                 at chapter 3
#   make notebooks                   run the notebooks and keep their outputs; make exercises/ from solutions/
#   make clean                       remove .venv
#
# PYTHON names the interpreter that makes .venv:  make demo PYTHON=python3.12

SHELL := /bin/bash
PYTHON ?= python3
PROMPT ?= a red house left of a yellow tent in the snow at night
ARGS ?=
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

KERNELS := tests/test_run_notebooks.py tests/test_other_seeds.py
NOTEBOOKS := $(wildcard chapters/*.ipynb solutions/*.ipynb)

# Idle OpenMP threads sleep instead of spinning: on a machine that does something else as well, a picture
# takes one second instead of ten.
export OMP_WAIT_POLICY ?= passive

# The prompt reaches the shell as a variable, so that it may hold quotes.
export PROMPT

.PHONY: demo test full bench lint fuzz mutants seeds book notebooks clean
.DELETE_ON_ERROR:

demo: .venv/installed
	@$(BIN)/minisd paint -- "$$PROMPT"

# All the tests: a process a core, one thread each, and every file's tests in one process. Those that start
# kernels of their own run by themselves: nbclient can wait for ever in a process that xdist started.
test: .venv/installed-test
ifneq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest $(ARGS)
else
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(addprefix --ignore ,$(KERNELS))
	$(BIN)/python -m pytest $(KERNELS)
ifneq ($(NOTEBOOKS),)
	MINISD_QUIET=1 $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 900 $(NOTEBOOKS)
endif
endif

full: .venv/installed-test
	$(BIN)/python -m pytest -m full

bench: .venv/installed-test
	$(BIN)/python benchmarks/bench.py $(ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: .venv/installed-dev
	$(BIN)/python tests/fuzz.py --inputs 230000 --guided 30000 --write $(ARGS)

mutants: .venv/installed-dev
	$(BIN)/python tests/mutants.py $(ARGS)

seeds: .venv/installed-test
	$(BIN)/python tests/other_seeds.py --write $(ARGS)

book: .venv/installed-book
	$(BIN)/minisd book $(ARGS)

notebooks: .venv/installed-book
	$(BIN)/python -m minisd.teaching.notebooks
	$(BIN)/python -m minisd.teaching.book --write

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("minisd needs Python 3.11 or newer, this is %d.%d: name another with PYTHON=..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@start=$$SECONDS; $(PIP_INSTALL) -e . && echo "install: $$((SECONDS - start)) s" && touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python
	@start=$$SECONDS; $(PIP_INSTALL) -e '.[test]' && echo "install: $$((SECONDS - start)) s" && touch .venv/installed $@

# mypy and the mutants look at all of the package, so they need what the tests need.
.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	@start=$$SECONDS; $(PIP_INSTALL) -e '.[test,dev]' && echo "install: $$((SECONDS - start)) s" && touch .venv/installed .venv/installed-test $@

.venv/installed-book: pyproject.toml constraints.txt | .venv/bin/python
	@start=$$SECONDS; $(PIP_INSTALL) -e '.[book]' && echo "install: $$((SECONDS - start)) s" && touch .venv/installed $@

clean:
	rm -rf .venv
