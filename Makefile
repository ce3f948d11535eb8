# Needs make and Python 3.11 or newer; everything else is installed into .venv, pinned by hash.
# `make help` lists what there is.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# `make -j` must not run two pips in one .venv.
.NOTPARALLEL:
SHELL := /bin/sh
# What the caller's shell has set must not reach into .venv.
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_HASHES
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := .venv/bin
SENDBENCH := $(BIN)/sendbench
INSTALL := $(BIN)/python -m pip install --quiet
PINNED := $(INSTALL) --require-hashes --only-binary :all:
PACK = $(INSTALL) --no-deps --no-build-isolation --force-reinstall ./.venv/package
HEADERS = test -e "$$($(1) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"
COMPILES = [ "$(COMPILE)" = yes ] && command -v cc >/dev/null && $(call HEADERS,$(BIN)/python)
SYSTEM_PYTHON := /usr/bin/python3
RUNS := results
FORMATS := html,md,json,csv

## Variables
#: PYTHON=python3.13   the Python that .venv is made with (default: the system's, else the first new enough)
#: RUN=results/...     the run that `make report` is about (default: results/latest)
#: A=... B=...         the runs that `make compare` is about (default: the two newest of one scenario)
#: ARGS=...            more arguments, for bench and smoke: `sendbench run`; for test: pytest;
#:                     for peers: --only smtp-source --pairs 3
#: COMPILE=no          leave sendbench plain Python, even if there is a C compiler
COMPILE ?= yes
PYTHON ?=
RUN ?= $(RUNS)/latest
A ?=
B ?=
ARGS ?=
UV ?= uv

# ---------------------------------------------------------------------------- measuring

# Each scenario's report is written whatever its exit code, unless no run came of it or it was
# interrupted; the recipe ends with the first exit code that was not 0.
.PHONY: bench
bench: .venv/.project ## Measure SMTP and API side by side, then over the round-trip time; write the reports
	@status=0; pages=; \
	newest() { ls -1d $(RUNS)/*-"$$1"-* 2>/dev/null | sort | tail -n 1; }; \
	measure() { \
	    scenario=$$1; shift; before=$$(newest "$$scenario"); code=0; \
	    $(SENDBENCH) run "scenarios/$$scenario.yaml" --results $(RUNS) "$$@" $(ARGS) || code=$$?; \
	    [ $$status -ne 0 ] || status=$$code; \
	    run=$$(newest "$$scenario"); \
	    if [ "$$run" = "$$before" ] || [ $$code -ge 128 ]; then return; fi; \
	    out=reports/$${run##*/}; \
	    $(SENDBENCH) report "$$run" --format $(FORMATS) --out "$$out" >/dev/null || code=$$?; \
	    [ $$status -ne 0 ] || status=$$code; \
	    pages="$$pages $$out/report.html"; \
	}; \
	measure smtp-vs-api; \
	[ $$status -ge 128 ] || measure rtt-sweep --profile short; \
	for page in $$pages; do [ ! -f "$$page" ] || echo "report: $$page"; done; \
	exit $$status

.PHONY: smoke
smoke: .venv/.project ## A run of a few seconds that shows that everything works
	@$(SENDBENCH) run scenarios/smoke.yaml --results $(RUNS) $(ARGS)

.PHONY: report
report: .venv/.project ## Write the report of a run (RUN, default the newest) in every format, and name the files
	@test -d "$(RUN)" || { echo "make report: no run at $(RUN); \`make bench\` makes one" >&2; exit 2; }
	@$(SENDBENCH) report "$$(cd -P "$(RUN)" && pwd)" --format $(FORMATS)

.PHONY: compare
compare: .venv/.project ## Two runs side by side (A and B, default the two newest of one scenario)
	@$(SENDBENCH) compare $(A) $(B)

# ---------------------------------------------------------------------------- checking

# On every core; then, one by one, those that measure time. Either may have nothing to do (5) with ARGS.
IN_PARTS = part() { ( $(1) "$$@" $(ARGS) ) || { code=$$?; [ $$code -eq 5 ] || status=$$code; }; }; status=0; \
    part -n auto --dist worksteal -m 'not (live or slow or alone)'; part -m 'alone and not (live or slow)'; exit $$status

.PHONY: test
test: .venv/.dev ## Run the tests
	@$(call IN_PARTS,$(BIN)/python -m pytest)

# From a folder that shows the tests but not the tree's own `bench`.
IN_TESTS := rm -rf .venv/tests && mkdir .venv/tests && ln -s ../../tests ../../scenarios ../../reports ../../CHANGELOG.md .venv/tests && \
    cd .venv/tests && SENDBENCH_INSTALLED=1 PYTHONPATH="$(CURDIR)/.venv/tests" ../bin/python -P
AS_INSTALLED := $(IN_TESTS) -m pytest -c ../../pyproject.toml --rootdir . -o pythonpath= -p no:cacheprovider
WHOLE_RUNS := connect interleaved retry selfcheck session_contract stall template wire_http wire_smtp
RUNS_FOR_EVERY_MESSAGE := protocol transports store worker \
    test_engine.py test_engine_shares.py test_message.py test_pacing.py $(WHOLE_RUNS:%=integration/test_%.py)

.PHONY: test-installed
test-installed: .venv/.dev .venv/.project ## Run the load generator's tests on sendbench as it is installed: compiled, if it could be
	@$(call IN_PARTS,$(AS_INSTALLED) $(addprefix tests/,$(RUNS_FOR_EVERY_MESSAGE)))

.PHONY: check
check: .venv/.dev ## Lint, formatting, types and layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_layers.py

.PHONY: format
format: .venv/.dev ## Put the code into the form that `make check` asks for
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format .

.PHONY: calibrate
calibrate: .venv/.dev .venv/.project ## Planted truth: does the report recover it? Minutes; writes reports/calibration.md
	@$(AS_INSTALLED) tests/calibration -m 'slow and not live' $(ARGS)
	@! test -f reports/calibration.md || echo "report: reports/calibration.md"

# Postfix and nginx must be there (Debian: postfix libsasl2-modules nginx-light); everything else is unpacked
# into .servers, because Debian's OpenSMTPD and Postfix cannot both be installed. Both need root to run.
.PHONY: servers
servers: .venv/.dev .venv/.project .servers/.ready ## SMTP and HTTP against real servers: Postfix, OpenSMTPD, aiosmtpd, smtp-server, nginx
	@$(BIN)/python -m pytest tests/servers -m 'slow and not live' $(ARGS)
	@! test -f reports/servers.md || echo "report: reports/servers.md"

SERVERS := requirements/servers.txt $(wildcard tests/servers/npm/*.json) tests/servers/programs/openssl3.c
.servers/.ready: $(SERVERS) .venv/.python
	@echo "fetching the servers into .servers" >&2
	@rm -rf .servers && mkdir -p .servers/debian .servers/npm
	@cd .servers/debian && apt-get -qq download opensmtpd sasl2-bin && for deb in *.deb; do dpkg -x "$$deb" .; done
	@cc -shared -fPIC -O2 -o .servers/debian/openssl3.so tests/servers/programs/openssl3.c
	@.venv/bin/python -m venv .servers/venv
	@.servers/venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/servers.txt
	@cp tests/servers/npm/*.json .servers/npm && npm ci --prefix .servers/npm --silent --ignore-scripts
	@touch $@

.PHONY: contract
contract: .contract/.ready ## The vendors' own SDKs against the mock, and SES calls against moto's server
	@.contract/bin/python -m pytest tests/contract -m 'slow and not live' $(ARGS)

# An environment of its own: botocore wants an older python-dateutil than the rest.
.contract/.ready: requirements/contract.txt .venv/.python
	@echo "installing the vendors' SDKs into .contract" >&2
	@.venv/bin/python -m venv --clear .contract
	@.contract/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/contract.txt
	@touch $@

# Minutes on an otherwise idle machine of two cores or more. Installs what it compares with: Debian packages
# where they are missing (as root or by sudo), the rest into .peers.
.PHONY: peers
peers: .venv/.dev .venv/.project ## Side by side with other tools: messages per CPU second; minutes, writes reports/peers.md
	@sh tests/peers/install.sh $(BIN)/python
	@$(BIN)/python -m tests.peers $(ARGS)

.PHONY: soak-short
soak-short: .venv/.dev .venv/.project ## Two million messages: flat memory, full accounts, quick analysis; minutes, writes reports/soak.md
	@$(BIN)/python -m tests.soak $(ARGS)

.PHONY: torture
torture: .venv/.dev .venv/.project ## Faults, fuzz, kills, power losses and cancels by the million; an hour, in parts; writes reports/torture.md
	@$(BIN)/python -m tests.torture $(ARGS)

# As it is installed, as what is calibrated should be what runs elsewhere.
.PHONY: calibrate-gate
calibrate-gate: .venv/.dev .venv/.project ## How often the gate is wrong, and what it sees: simulated and in real runs; half an hour, writes reports/gate.md
	@$(IN_TESTS) -m tests.gate $(ARGS)

# Both sides are built anew, compiled if this machine can.
.PHONY: gate
gate: .venv/.dev ## This tree's wire client against the merge base with main, CPU and latency; minutes (ARGS=--base REV)
	@if $(COMPILES); then form=; else form=--plain; fi; $(BIN)/python -m tests.gate.itself $$form $(ARGS)

.PHONY: micro
micro: .venv/.dev .venv/.project ## What the hot paths cost, against the baseline of this class of machine (ARGS=--store: make one)
	@$(BIN)/python -m tests.micro $(ARGS)

# ---------------------------------------------------------------------------- installing

.PHONY: install
install: .venv/.project ## Make .venv with the pinned requirements and sendbench

# The first Python that can make a .venv. The system's own, where the compiler could use it: as distributions
# build it, a message takes up to a tenth less CPU than with one from a version manager. Then python3 where it
# is of a version the wheels are pinned for, then the tested versions, newest first, then a python3 that is
# newer than this file. The stamp holds the folder, because a .venv that was moved or copied still runs the
# code of the old place.
made_for := $(shell .venv/bin/python -c 'print(open(".venv/.python").read().strip())' 2>/dev/null)
ifneq "$(made_for)" "$(CURDIR)"
.PHONY: .venv/.python
endif
.venv/.python:
	@fit='import sys; low, high = (3, 11), (3, int(sys.argv[1])); \
	    [__import__(name) for name in sys.argv[2:]]; raise SystemExit(not low <= sys.version_info[:2] <= high)'; \
	fits() { "$$1" -c "$$fit" "$$2" venv ensurepip 2>/dev/null; }; \
	found=; \
	if [ -n "$(PYTHON)" ]; then \
	    ! fits "$(PYTHON)" 99 || found="$(PYTHON)"; \
	elif fits $(SYSTEM_PYTHON) 14 && $(call HEADERS,$(SYSTEM_PYTHON)); then \
	    found=$(SYSTEM_PYTHON); \
	else \
	    for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	        if fits "$$name" 14; then found=$$name; break; fi; \
	    done; \
	    [ -n "$$found" ] || ! fits python3 99 || found=python3; \
	fi; \
	if [ -z "$$found" ]; then \
	    have=$$("$(or $(PYTHON),python3)" --version 2>/dev/null) || have="nothing that runs as $(or $(PYTHON),python3)"; \
	    echo "make: needs Python 3.11 or newer with venv and ensurepip (Debian, Ubuntu: apt install python3-venv)," \
	        "found $$have; name another with PYTHON=/path/to/python" >&2; \
	    exit 1; \
	fi; \
	if [ -e $@ ] || ! .venv/bin/python -c "$$fit" 99 pip 2>/dev/null; then "$$found" -m venv --clear .venv; fi
	@echo "$(CURDIR)" > $@

.venv/.base: requirements/base.txt requirements/build.txt .venv/.python
	@echo "installing the requirements into .venv" >&2
	@$(PINNED) -r requirements/base.txt -r requirements/build.txt
	@touch $@

# The package is built from a copy, as the compiler writes beside the files it compiles. `make test` runs the
# tree itself; `sendbench` is what is installed, so every target that runs it brings it up to date first.
PACKAGE := pyproject.toml README.md LICENSE $(shell find bench scenarios -type f ! -name '*.pyc' 2>/dev/null)
.venv/.project: $(PACKAGE) .venv/.base
	@rm -rf .venv/package && mkdir .venv/package && cp -R pyproject.toml README.md LICENSE bench scenarios .venv/package
	@if $(COMPILES); then \
	    echo "compiling what runs for every message" >&2; \
	    ! HATCH_BUILD_HOOKS_ENABLE=1 $(PACK) || exit 0; \
	fi; \
	echo "not compiled: sendbench runs as plain Python, which takes more CPU time for each message" >&2; \
	$(PACK)
	@rm -rf .venv/package
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.base
	@echo "installing the tools for developers into .venv" >&2
	@$(PINNED) -r requirements/dev.txt
	@touch $@

.PHONY: requirements
requirements: ## Pin the newest versions of everything anew (needs uv; UV=/path/to/uv)
	@command -v "$(UV)" >/dev/null || { echo "make requirements: needs uv (pip install uv), or UV=/path/to/uv" >&2; exit 1; }
	@pin() { \
	    "$(UV)" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	        --no-emit-index-url --no-emit-find-links "$$@"; \
	}; \
	pin --upgrade --output-file requirements/dev.txt --extra dev pyproject.toml && \
	pin --upgrade --constraint requirements/dev.txt --output-file requirements/base.txt pyproject.toml && \
	pin --upgrade --constraint requirements/dev.txt --output-file requirements/build.txt requirements/build.in && \
	pin --upgrade --output-file requirements/contract.txt --extra contract --extra dev pyproject.toml && \
	pin --upgrade --output-file requirements/servers.txt requirements/servers.in && \
	pin --upgrade --output-file requirements/peers.txt requirements/peers.in

# ---------------------------------------------------------------------------- the rest

.PHONY: clean
clean: ## Remove .venv and every cache; results/ and reports/ stay
	@rm -rf .venv .contract .servers .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks build dist
	@find bench tests -type d -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this
	@echo "make TARGET [VARIABLE=value ...]"; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'
	@echo; sed -n 's/^#: /  /p' Makefile
