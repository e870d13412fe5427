# SPDX-License-Identifier: Apache-2.0
# One makefile, not recursive. `make help` lists the targets.

SHELL := /bin/bash
VARIANT ?= release
PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=
LETTERS ?= 60
B := build/$(VARIANT)
PYTHON := /usr/bin/python3
V ?= 0
Q := $(if $(filter 0,$(V)),@,)
# For the targets that build a lot: all cores, unless make was told how many (make -j1 test).
CORES ?= $(shell nproc)
ALL_CORES = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(CORES))

PKGS := libsodium libcbor hiredis libcurl openssl libuv jansson inih libmicrohttpd libseccomp

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wcast-qual \
        -Wundef -Wswitch-enum
HARDEN := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero \
          -fzero-call-used-regs=used-gpr $(if $(filter x86_64,$(shell uname -m)),-fcf-protection,-mbranch-protection=standard)
LDHARDEN := -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed

CFLAGS_release := -O2 -g $(HARDEN)
CFLAGS_dev := $(CFLAGS_release)
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_cov := -O0 -g --coverage -DCWC_COVERAGE
LDFLAGS_release := -pie $(LDHARDEN)
LDFLAGS_dev := $(LDFLAGS_release)
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_cov := --coverage

STD := -std=c17 -D_GNU_SOURCE -fPIE -I. -ffile-prefix-map=$(CURDIR)=. -include worker/base/banned.h
CC := gcc
# Asked once, and only when something is compiled: a fresh machine has no pkg-config yet.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)) -lm)$(PKG_LIBS)
ALL_CFLAGS = $(STD) $(WARN) $(CFLAGS_$(VARIANT)) $(PKG_CFLAGS) $(CFLAGS)

BASE := $(addprefix worker/base/,err.c buf.c text.c cbor.c cose.c secret.c addr.c log.c clock.c dial.c stream.c)
CWC := $(wildcard cwc/*.c)
QUEUE := $(wildcard queue/*.c)
ATTEST := $(wildcard attest/*.c)
CONFIG := $(filter-out config/gen.c,$(wildcard config/*.c))
WORKER := $(filter-out worker/main.c,$(wildcard worker/*.c))
LUA := $(wildcard queue/lua/*.lua)
CTL := $(wildcard ops/cwcctl/*.c)
INIT := $(wildcard ops/image/*.c)
SIM := $(wildcard tests/sim/*.c)
# A development build takes the simulator's root besides the hypervisor's, and its worker the simulated device.
DEV := $(if $(filter dev,$(VARIANT)),tests/sim/anchor_sim.c)
DEV_WORKER := $(if $(filter dev,$(VARIANT)),$(SIM))
LIB := $(BASE) $(CWC) $(QUEUE) $(ATTEST) $(CONFIG) $(WORKER)

UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
TOOLS := $(patsubst tests/tools/%.c,%,$(wildcard tests/tools/*.c)) $(patsubst tests/it/%.c,%,$(wildcard tests/it/*.c))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
SCENARIO := $(wildcard tests/scenario/*.c)
SCN := $(wildcard tests/scenario/*.scn)
C_FILES := $(LIB) worker/main.c config/gen.c $(CTL) $(INIT) $(wildcard tests/*/*.c)
H_FILES := $(wildcard */*.h */*/*.h)
SH_FILES := $(shell grep -lE '^\#!.*\b(ba)?sh' .ci/run ops/* ops/*/* queue/*.sh tests/*/*.sh 2>/dev/null)

# A development build is the release but for the few files that ask which of the two they are in: it takes the other
# objects from there. (No header asks: tests/lint-layering.)
ASKING := $(if $(filter dev,$(VARIANT)),$(shell grep -lw CWC_DEV $(LIB) $(CTL) $(INIT) worker/main.c))
R := $(if $(filter dev,$(VARIANT)),build/release,$(B))
objects = $(patsubst %.c,$(R)/%.o,$(filter-out $(ASKING),$(1))) $(patsubst %.c,$(B)/%.o,$(filter $(ASKING),$(1)))
LIBOBJ := $(call objects,$(LIB)) $(R)/queue/scripts_data.o

.DEFAULT_GOAL := all
.PHONY: all dev help deps run test long unit it scenarios tools unit-programs fuzz-programs lint bench chaos scale model fuzz cov install clean man examples \
        reproducible $(addprefix lint-,deps warnings tidy cppcheck analyzer shell format layering units ops rules)

all: $(B)/cwc-worker $(B)/cwcctl $(B)/cwc-init ## Build the programs (VARIANT=release|dev|asan|cov)

# With the simulated security module and keys from files: most tests need them.
dev: all ## Build the development variant: with what plays the hypervisor, and keys from files
	$(Q)$(MAKE) -s --no-print-directory $(ALL_CORES) VARIANT=dev all

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

deps: ## Install the Debian packages that are missing
	$(Q)ops/install-deps

# --- building -------------------------------------------------------------------------------------

define compile
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(ALL_CFLAGS) $(1) -MMD -MP -c $< -o $@
endef
ifeq ($(VARIANT),dev)
$(ASKING:%.c=$(B)/%.o): $(B)/%.o: %.c
	$(call compile,-DCWC_DEV)
endif
$(R)/%.o: %.c
	$(call compile)

$(R)/queue/scripts_data.c: queue/embed.sh $(LUA)
	@mkdir -p $(@D)
	$(Q)sh queue/embed.sh $@ $(LUA)

$(R)/queue/scripts_data.o: $(R)/queue/scripts_data.c
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(B)/libcwc.a: $(LIBOBJ)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^

# In a development build library and simulator need each other.
define program
	@mkdir -p $(@D)
	@echo "  LD  $@"
	$(Q)$(CC) $(LDFLAGS_$(VARIANT)) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	        $(PKG_LIBS) $(1)
endef

$(B)/cwc-worker: $(call objects,worker/main.c $(DEV_WORKER)) $(B)/libcwc.a
	$(call program)
$(B)/cwcctl: $(call objects,$(CTL) $(DEV)) $(B)/libcwc.a
	$(call program)
# What an enclave starts; see ops/image/README.md.
$(B)/cwc-init: $(call objects,$(INIT)) $(B)/libcwc.a
	$(call program)
$(B)/config-gen: $(R)/config/gen.o $(B)/libcwc.a
	$(call program)
# What stands for the hypervisor: for tests, and for the dev variant.
$(B)/libsim.a: $(call objects,$(SIM))
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^
$(UNIT:%=$(B)/unit/%): $(B)/unit/%: $(R)/tests/unit/%.o $(B)/libsim.a $(B)/libcwc.a
	$(call program,-lcmocka)
$(B)/tools/%: $(R)/tests/tools/%.o $(B)/libsim.a $(B)/libcwc.a
	$(call program)
$(B)/tools/%: $(R)/tests/it/%.o $(B)/libsim.a $(B)/libcwc.a
	$(call program)
$(FUZZ:%=$(B)/fuzz/%): $(B)/fuzz/%: $(R)/tests/fuzz/%.o $(R)/tests/fuzz/driver.o $(B)/libcwc.a
	$(call program)
# Its fakes of the clock, the loop and the network come before the library, and so take their place.
$(B)/scenario: $(call objects,$(SCENARIO)) $(B)/libcwc.a
	$(call program,-llua5.1)
.SECONDARY:

examples: $(B)/config-gen ## Write the commented example configurations anew
	$(Q)$(B)/config-gen measured >config/cwc-worker.conf && $(B)/config-gen host >config/host.conf

man: $(B)/cwc-worker.8 $(B)/cwcctl.1 $(B)/cwc-worker.conf.5 ## Make the manual pages

$(B)/cwcctl.1: $(B)/cwcctl
	$(Q)$< help --man >$@
$(B)/cwc-worker.conf.5: $(B)/config-gen ops/man/cwc-worker.conf.5.in
	$(Q)sed -e '/^@TABLE@$$/{r /dev/stdin' -e 'd}' ops/man/cwc-worker.conf.5.in < <($< man) >$@
$(B)/cwc-worker.8: ops/man/cwc-worker.8
	@mkdir -p $(@D)
	$(Q)cp $< $@

install: all man ## Install programs, manual pages, units and examples (DESTDIR=, PREFIX=/usr)
	@test "$(VARIANT)" = release || { echo "install: only VARIANT=release; the others take what is simulated, or are for tests" >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man{1,5,8} \
	        $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d \
	        $(DESTDIR)$(PREFIX)/share/doc/cwc-worker $(DESTDIR)$(SYSCONFDIR)/cwc-worker
	install -m 755 $(B)/cwc-worker $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(B)/cwcctl $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(B)/cwcctl.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(B)/cwc-worker.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 $(B)/cwc-worker.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 ops/systemd/cwc-worker.service $(DESTDIR)$(PREFIX)/lib/systemd/system/
	install -m 644 ops/systemd/cwc-worker.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/cwc-worker.conf
	install -m 644 README.md CHANGELOG.md SECURITY.md ops/RUNBOOK.md ops/kms/key-policy.json queue/PROTOCOL.md queue/FORMATS.md \
	        config/cwc-worker.conf config/host.conf $(DESTDIR)$(PREFIX)/share/doc/cwc-worker/

clean: ## Remove everything that was built
	rm -rf build

# The value of a variable, for scripts: make -s print-LIB
print-%:
	@echo '$($*)'

# --- running --------------------------------------------------------------------------------------

run: ## Show the main job: sample letters to simulated chambers, and the proof (LETTERS=60 HOLD=1: leaves it up)
	$(Q)ops/install-deps run
	$(Q)$(MAKE) --no-print-directory dev
	$(Q)$(PYTHON) tests/demo/run.py --letters $(LETTERS) $(if $(HOLD),--hold)

# --- testing --------------------------------------------------------------------------------------

RUN_TESTS := $(PYTHON) tests/run.py
IT := $(patsubst tests/it/%.py,%,$(wildcard tests/it/test_*.py))

test: ## The whole test suite, from nothing
	$(Q)ops/install-deps test
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) all tools $(B)/unit/test_sandbox
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) VARIANT=asan unit-programs fuzz-programs build/asan/scenario
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) dev
	$(Q)CWC_BUILD=$(B) $(RUN_TESTS) --first tests/slowest.txt $(ALL_TESTS)

tools: $(TOOLS:%=$(B)/tools/%) $(B)/config-gen
unit-programs: $(UNIT:%=$(B)/unit/%)
fuzz-programs: $(FUZZ:%=$(B)/fuzz/%)

# Unit tests and fuzz replays run under the sanitizers; the integration tests on what is installed.
unit_tests = $(foreach t,$(UNIT),$(t)=$(1)/unit/$(t))
it_tests = $(foreach t,$(IT),'$(t)=$(PYTHON) tests/it/$(t).py')
fuzz_tests = $(foreach t,$(FUZZ),'$(t)=$(PYTHON) tests/fuzz/replay.py build/asan/fuzz/$(t) $(t)')
ALL_TESTS = $(it_tests) $(call unit_tests,build/asan) $(fuzz_tests) \
            'test_sandbox_plain=$(B)/unit/test_sandbox' \
            'test_sim=$(PYTHON) -m unittest discover -s tests/sim -p test_*.py' 'test_protocol=$(PYTHON) tests/queue/test_protocol.py' \
            'check=$(PYTHON) tests/queue/check.py' 'exhaust=$(PYTHON) tests/queue/exhaust.py --short' \
            'mutants=$(PYTHON) tests/queue/mutants.py' 'layering=tests/lint-layering' \
            'scenarios=build/asan/scenario $(SCN)' 'test_store=$(PYTHON) tests/scenario/test_store.py build/asan/scenario'

# Those that have a short form in `make test`.
LONG_IT = $(patsubst tests/it/%.py,%,$(shell grep -lE 'CWC_LONG|people_case import.*SCALE' tests/it/test_*.py))
LONG_UNIT = $(patsubst tests/unit/%.c,%,$(shell grep -l CWC_LONG tests/unit/test_*.c))

long: ## What goes on for longer than in `make test`, where that proves more of the same
	$(Q)ops/install-deps test
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) all tools
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) VARIANT=asan $(LONG_UNIT:%=build/asan/unit/%)
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) dev
	$(Q)CWC_LONG=1 CWC_BUILD=$(B) $(RUN_TESTS) --timeout 900 'exhaust=$(PYTHON) tests/queue/exhaust.py' \
	        $(foreach t,$(LONG_IT),'$(t)=$(PYTHON) tests/it/$(t).py') $(foreach t,$(LONG_UNIT),$(t)=build/asan/unit/$(t))

unit: unit-programs ## Unit tests only (VARIANT=asan for sanitizers)
	$(Q)$(RUN_TESTS) $(call unit_tests,$(B))

it: all tools dev ## Integration tests only
	$(Q)CWC_BUILD=$(B) $(RUN_TESTS) $(it_tests)

scenarios: $(B)/scenario ## The engine and the scripts through days of virtual time, in seconds
	$(Q)$(B)/scenario $(SCN)

model: ## Check the Promela model of the queue protocol with spin (QUICK=1: smaller budgets)
	$(Q)ops/install-deps test
	$(Q)tests/model/check.sh $(if $(QUICK),--short)

FUZZ_SECONDS ?= 60
fuzz: ## Fuzz every parser with libFuzzer (clang; FUZZ_SECONDS=60 each, FUZZ_SEED=)
	$(Q)ops/install-deps lint
	$(Q)$(PYTHON) tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

cov: ## Line coverage of the pure modules (must be 95 %)
	$(Q)ops/install-deps test
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) VARIANT=cov all tools unit-programs
	$(Q)$(PYTHON) tests/cov.py build/cov $(UNIT)

bench: ## Letters per second and CPU per letter beside the machine's ceiling (QUICK=1: 85 s)
	$(Q)ops/install-deps test
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) all tools dev
	$(Q)CWC_BUILD=$(B) $(PYTHON) tests/bench/bench.py $(if $(QUICK),--quick)

reproducible: ## Build every program twice, in two directories, and compare
	$(Q)REPRODUCE='cwc-worker cwc-init cwcctl' $(PYTHON) tests/it/test_reproducible.py

ROUNDS ?= 20
chaos: ## Kills, stalls, cuts and faults at random, then every letter is accounted for (ROUNDS=20 SEED= JOBS=1)
	$(Q)ops/install-deps test
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) all dev
	$(Q)CWC_BUILD=$(B) $(PYTHON) tests/chaos/chaos.py --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

scale: ## Bursts through the local supervisor: depth, workers, oldest age; a table, CSV and SVG in build/scale (QUICK=1: 65 s)
	$(Q)ops/install-deps test
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) all dev
	$(Q)CWC_BUILD=$(B) $(PYTHON) tests/scale/load.py $(if $(QUICK),--quick)

# --- lint -----------------------------------------------------------------------------------------

lint: lint-deps lint-warnings lint-analyzer lint-tidy lint-cppcheck lint-shell lint-format lint-layering lint-units lint-ops lint-rules ## All static checks
	@echo "lint: ok"

lint-deps:
	$(Q)ops/install-deps lint

lint-warnings:
	$(Q)$(MAKE) --no-print-directory $(ALL_CORES) B=build/lint CFLAGS=-Werror all tools unit-programs fuzz-programs build/lint/scenario

# -O2 -fanalyzer on every file of ours but the tests.
lint-analyzer:
	@echo "  gcc -fanalyzer"
	$(Q)printf '%s\n' $(LIB) worker/main.c $(CTL) $(INIT) config/gen.c | xargs -P 2 -n 1 \
	        $(CC) $(STD) $(WARN) -Werror -fanalyzer -O1 $(PKG_CFLAGS) -o /dev/null -c

lint-tidy:
	@echo "  clang-tidy"
	$(Q)printf '%s\n' $(LIB) worker/main.c $(CTL) $(INIT) config/gen.c | xargs -P 2 -n 6 \
	        sh -c 'clang-tidy --quiet --warnings-as-errors="*" "$$@" -- $(STD) $(PKG_CFLAGS) 2>/dev/null' tidy

lint-cppcheck:
	@echo "  cppcheck"
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	        --suppressions-list=tests/cppcheck.suppress -I. -D_GNU_SOURCE -j 2 $(LIB) worker/main.c $(CTL) $(INIT) config/gen.c

lint-shell:
	@echo "  shellcheck"
	$(Q)shellcheck $(SH_FILES)

lint-format:
	@echo "  clang-format"
	$(Q)clang-format --dry-run -Werror $(C_FILES) $(H_FILES)

lint-layering:
	$(Q)tests/lint-layering

# The host's units as systemd reads them, below a root of their own.
lint-units:
	@echo "  systemd-analyze verify"
	$(Q)$(PYTHON) tests/it/test_host.py -q Units

# AWS's own validator, with the schemas of all resources in it: pinned by its hash, asks nobody when it runs.
AWS_LINT := build/aws-lint
$(AWS_LINT)/node_modules/.package-lock.json: ops/aws/lint/package.json ops/aws/lint/package-lock.json ops/aws/lint/.npmrc
	@mkdir -p $(AWS_LINT)
	$(Q)cp $^ $(AWS_LINT)/ && cd $(AWS_LINT) && npm ci --loglevel=error >/dev/null

lint-ops: $(AWS_LINT)/node_modules/.package-lock.json
	@echo "  yamllint, JSON, CloudFormation"
	$(Q)find ops -name '*.yaml' -o -name '*.yml' | xargs yamllint --strict
	$(Q)find ops -name '*.json' | while read -r f; do $(PYTHON) -m json.tool "$$f" /dev/null || exit 1; done
	$(Q)NODE_PATH=$(AWS_LINT)/node_modules node ops/aws/lint/lint.js ops/aws/*.yaml
	$(Q)if NODE_PATH=$(AWS_LINT)/node_modules node ops/aws/lint/lint.js ops/aws/lint/refused.yaml >/dev/null; then \
	        echo "lint-ops: what is wrong on purpose was not refused" >&2; exit 1; fi

# Grafana's own types, likewise pinned.
GRAFANA_LINT := build/grafana-lint
$(GRAFANA_LINT)/node_modules/.package-lock.json: $(addprefix ops/monitoring/lint/,package.json package-lock.json .npmrc)
	@mkdir -p $(GRAFANA_LINT)
	$(Q)cp $^ $(GRAFANA_LINT)/ && cd $(GRAFANA_LINT) && npm ci --loglevel=error >/dev/null

# The real output of exporter and worker goes through promtool in tests/it (test_cwcctl_depth.py, test_status.py).
lint-rules: $(GRAFANA_LINT)/node_modules/.package-lock.json
	@echo "  promtool, Grafana"
	$(Q)promtool check config --lint=all --lint-fatal ops/monitoring/prometheus.yaml >/dev/null
	$(Q)promtool check rules --lint=all --lint-fatal ops/monitoring/rules.yaml >/dev/null
	$(Q)cd ops/monitoring && promtool test rules rules_test.yaml rules_days_test.yaml >/dev/null
	$(Q)NODE_PATH=$(GRAFANA_LINT)/node_modules node ops/monitoring/lint/dashboard.js ops/monitoring/grafana.json
	$(Q)sed 's/"drawStyle": "line"/"drawStyle": "lines"/' ops/monitoring/grafana.json >$(GRAFANA_LINT)/refused.json
	$(Q)if NODE_PATH=$(GRAFANA_LINT)/node_modules node ops/monitoring/lint/dashboard.js $(GRAFANA_LINT)/refused.json 2>/dev/null; then \
	        echo "lint-rules: what is wrong on purpose was not refused" >&2; exit 1; fi

-include $(shell find $(B) build -name '*.d' 2>/dev/null | sort -u)
