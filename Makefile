# make run and make test do everything on a fresh machine with Python 3.11 or later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
# The tests compile the kernels and measure this machine's memory. Named first and by version, so
# that an index which holds a build for processors serves that one.
TORCH ?= torch==2.13.0 triton==3.7.1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run report test tritons gpu lint check bench docs schema clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed  ## install, judge every claim, name the report (ARGS="--only ID" …)
	@$(BIN)/gpubench run $(ARGS)

report: $(VENV)/.installed  ## the page by the newest records: build/report.html (ARGS="--lang zh" …)
	@$(BIN)/gpubench report -o build/report.html $(ARGS)

test: $(VENV)/.installed-dev  ## install with the test tools and run the tests
	@$(BIN)/python -m pytest $(ARGS)

# The oldest Triton that the figures in docs/kernels.md hold for, and the newest. The interpreter of
# the older one needs an older numpy.
TRITONS ?= 3.6.0 3.9.0
build/triton-%: $(VENV)/.installed-dev
	@rm -rf $@
	@$(PIP) install --target $@ 'triton==$*' 'numpy<2.4' || { rm -rf $@; exit 1; }

tritons: $(TRITONS:%=build/triton-%)  ## the kernels' tests with other Tritons (TRITONS="3.6.0 …")
	@for version in $(TRITONS); do echo "Triton $$version"; \
	  PYTHONPATH=build/triton-$$version $(BIN)/python -m pytest -m '' tests/test_kernels_*.py $(ARGS) || exit; \
	done

# With the torch that PYTHON has, since a GPU's machine has its own; see docs/gpu-run.md.
SUITE ?= full
FROM_HERE = PYTHONPATH=src $(PYTHON) -m gpubench
gpu:  ## measure the GPU in two processes, compare, show (SUITE=quick PYTHON=…)
	@$(FROM_HERE) doctor
	@status=0; for run in first second; do \
	  $(FROM_HERE) run --device cuda --suite $(SUITE) --redact $(ARGS) > /dev/null || status=$$?; \
	done; $(FROM_HERE) compare --within 1 || status=$$?; \
	$(FROM_HERE) accept || status=$$?; \
	$(FROM_HERE) check --only h200-memory-bandwidth; exit $$status

lint: $(VENV)/.installed-dev  ## formatting, lint rules and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check: lint test tritons  ## all that continuous integration runs

bench: $(VENV)/.installed-dev  ## start-up, memory, growth with the claims, sweeps, collectives
	@$(BIN)/python tests/bench_startup.py
	@$(BIN)/python tests/bench_model.py
	@$(BIN)/python tests/bench_records.py
	@$(BIN)/python tests/bench_report.py
	@$(BIN)/python tests/bench_collectives.py

docs: $(VENV)/.installed-dev  ## the documentation as a site, in build/site; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "build/site/index.html"

schema: $(VENV)/.installed-dev  ## write the JSON Schema of claims.yaml anew
	@$(BIN)/gpubench claims schema > $(VENV)/claims.schema.json
	@mv $(VENV)/claims.schema.json src/gpubench/data/claims.schema.json

clean:  ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks dist build

# A stamp is written last, so an interrupted installation is done again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "gpubench needs Python 3.11 or later, and '$(PYTHON)' is not:" \
	       "name another, as in 'make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12'" >&2; exit 1; }
	@echo "Creating the environment in $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot create environments: install its venv module" \
	       "(on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	@echo "Installing gpubench" >&2
	@$(PIP) install -e '.[report]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	@echo "Installing torch and triton for the tests" >&2
	@$(PIP) install $(TORCH)
	@echo "Installing gpubench with its test tools" >&2
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.installed
