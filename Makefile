# Each target does all of its own set-up: virtual environment, build tools from PyPI, build.
# It needs gcc or clang, make, and a CPython 3.11-3.15 with headers; `make help` lists the targets.
#
#   make test PYTHON=python3.12        another interpreter: it gets an environment of its own
#   make test TESTS=tests/semantics    a part of the tests; ARGS= are further pytest arguments

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),help)),)
# Its absolute path, or the reason why there is none.
override PYTHON := $(shell scripts/find_python.sh $(PYTHON) 2>&1)
ifeq ($(filter /%,$(firstword $(PYTHON))),)
$(error $(PYTHON))
endif
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif

VENV := .venv-$(VERSION)
BUILD := build/cp$(VERSION)
PY := $(VENV)/bin/python
PIP := PATH="$(abspath $(VENV))/bin:$$PATH" PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install -q

# What the installed package is made of: any change rebuilds and installs it again.
SOURCES := meson.build pyproject.toml scripts/check_python.py $(wildcard README.md LICENSE) \
    $(shell find src -type f \( -name '*.[chS]' -o -name '*.py' -o -name '*.pyi' \
    -o -name py.typed -o -name meson.build \))
C_SOURCES = $(shell find src tests/runtime -name '*.[ch]' 2>/dev/null)

.PHONY: help build demo test bench instructions stress cpython-tests \
    lint format types check-c wheel-check clean FORCE

help:
	@echo 'make build        the package, built and installed into .venv-X.Y'
	@echo 'make demo         three example programs, explained'
	@echo 'make test         the Python test suite'
	@echo 'make check-c      the C runtime alone: plain, sanitizers, valgrind, aarch64, model'
	@echo 'make stress       tests/stress again and again (TIMES=1)'
	@echo 'make cpython-tests  tests of CPython itself, in a patched main goroutine (TESTS=test_ssl)'
	@echo 'make lint types   ruff, clang-format; mypy --strict, pyright, what they infer'
	@echo 'make format       lets ruff and clang-format rewrite the files'
	@echo 'make bench        the benchmarks, into benchmarks/RESULTS.md (QUICK=1: three minutes)'
	@echo 'make instructions fails when an operation takes 5 % more instructions than in the table'
	@echo 'make wheel-check  the wheel in an empty environment runs the quick start of README.md'
	@echo 'make clean        removes build/ and all environments'

# The environment is made anew if it was made with another interpreter of the same version.
$(VENV)/.python: FORCE
	@echo '$(PYTHON)' | cmp -s - $@ || { \
	    echo 'setting up $(VENV) with $(PYTHON)'; \
	    rm -rf $(VENV) $(BUILD) && $(PYTHON) -m venv $(VENV) && echo '$(PYTHON)' > $@; }

$(VENV)/.tools: $(VENV)/.python scripts/requirements/build.txt scripts/requirements/test.txt
	@$(PIP) -r scripts/requirements/build.txt -r scripts/requirements/test.txt
	@touch $@

$(VENV)/.lint: $(VENV)/.tools scripts/requirements/lint.txt
	@$(PIP) -r scripts/requirements/lint.txt
	@touch $@

# If not all can be had for this Python, as many as can be; the tests that need the others are skipped.
WHEELS := $(PIP) --only-binary :all:
install_some = $(WHEELS) -r $1 || grep -v '^\#' $1 | while read -r package; do \
    $(WHEELS) "$$package" || echo "not installed: $$package"; done

# The old pybind11 has a folder of its own beside the new one.
$(VENV)/.neighbours: $(VENV)/.tools scripts/requirements/neighbours.txt
	@$(call install_some,scripts/requirements/neighbours.txt)
	@$(WHEELS) --no-deps --upgrade --target $(VENV)/pybind11-2 pybind11==2.13.6 || \
	    echo 'not installed: pybind11 2.13.6'
	@touch $@

$(VENV)/.clients: $(VENV)/.tools scripts/requirements/clients.txt
	@$(call install_some,scripts/requirements/clients.txt)
	@touch $@

$(VENV)/.bench: $(VENV)/.tools scripts/requirements/bench.txt
	@$(PIP) -r scripts/requirements/bench.txt
	@touch $@

# One by one: the tests of one that does not support this Python say that they are left out.
$(VENV)/.tools-tests: $(VENV)/.tools scripts/requirements/tools.txt
	@while read -r package; do \
	    [[ $$package == \#* ]] || $(PIP) "$$package" || echo "not installed: $$package"; \
	done < scripts/requirements/tools.txt
	@touch $@

# The options in meson.build count when a build folder is made, and not again.
$(BUILD)/.new: $(VENV)/.tools meson.build
	@rm -rf $(BUILD) && mkdir -p $(BUILD) && touch $@

# Not editable: meson-python's hook would run ninja at each import, in each process of the tests.
# The build folder stays, so a rebuild compiles what has changed.
$(VENV)/.installed: $(BUILD)/.new $(SOURCES)
	@$(PIP) --no-build-isolation --no-deps --force-reinstall \
	    --config-settings=build-dir=$(BUILD) --config-settings=setup-args=-Ddebug=true .
	@touch $@

build: $(VENV)/.installed

demo: $(VENV)/.installed
	@$(PY) examples/demo.py

# Other people's code only where it is tested.
needs = $(if $(TESTS),$(filter tests tests/ tests/$1%,$(TESTS)),all)

test: $(VENV)/.installed $(if $(call needs,neighbours),$(VENV)/.neighbours) \
    $(if $(call needs,clients),$(VENV)/.clients) $(if $(call needs,tools),$(VENV)/.tools-tests)
	$(PY) -m pytest $(ARGS) $(TESTS)

bench: $(VENV)/.installed $(VENV)/.bench
	PATH="$(abspath $(VENV))/bin:$$PATH" QUICK="$(QUICK)" $(PY) benchmarks/run.py $(ARGS)

# What cannot be counted here is left out with a line that says so (status 75).
instructions: $(VENV)/.installed
	@$(PY) benchmarks/instructions.py --check $(ARGS) || [ $$? -eq 75 ]

stress: $(VENV)/.installed
	scripts/stress.sh $(PY) $(or $(TIMES),1)

cpython-tests: $(VENV)/.installed
	$(PY) scripts/cpython_tests.py $(ARGS) $(TESTS)

# All of it, whatever fails.
lint: $(VENV)/.lint
	@status=0; \
	$(PY) scripts/check_sources.py || status=1; \
	$(VENV)/bin/ruff check . || status=1; \
	$(VENV)/bin/ruff format --check . || status=1; \
	$(VENV)/bin/clang-format --dry-run -Werror $(C_SOURCES) || status=1; \
	exit $$status

format: $(VENV)/.lint
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $(C_SOURCES)

# The tests are those that need a type checker.
types: $(VENV)/.lint $(VENV)/.installed
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright --pythonpath $(PY) examples
	$(PY) -m pytest $(ARGS) -k typing tests/semantics

check-c:
	$(PYTHON) scripts/check_c.py $(ARGS)

wheel-check:
	$(PYTHON) scripts/wheel_check.py

clean:
	rm -rf build .venv-*
