# How to work on the collection; `make` lists the targets.
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

include tests/versions.mk

tools = tests/toolchain
run = $(tools)/run
reports = $(CURDIR)/tests/output/reports
scenarios = $(wildcard extensions/molecule/*/molecule.yml)

.PHONY: help demo test test-all prepare prepare-all lint sanity sanity-all unit unit-all coverage mutation integration \
	integration-all promises browser picture molecule docs fuzz differential killed soak bench \
	bench-smallest import build requirements clean FORCE

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 18

demo: ## see a lost node found and registered again
	@echo '== demo: a lost node is found and registered again'
	@tests/demo/run

test: ## lint, sanity, unit, docs, browser, integration and molecule, the cheap ones first
	@python3 $(tools)/leftovers.py $(tools)/stages 'prepare lint sanity unit docs browser' 'integration molecule'
	@echo '== test: lint, sanity, unit, docs, browser, integration and molecule passed'

test-all: ## the same with every ansible-core, Python and OTP; takes half an hour; writes tables of the docs
	@rm -rf '$(reports)' && mkdir -p '$(reports)'
	@BEAMOPS_JUNIT='$(reports)' python3 $(tools)/leftovers.py $(tools)/stages --record test-all \
		'ansible-core $(cores); CPython $(pythons) on targets; Erlang/OTP $(otps).' prepare-all \
		'lint browser import' 'sanity-all unit-all' 'integration-all molecule' bench-smallest promises docs
	@echo '== test-all: every stage passed'

prepare: ## what integration and molecule need: Erlangs, root file systems, Debian's packages
	@echo "== prepare: Erlangs, root file systems and Debian's packages"
	@$(tools)/prepare $(few_otps)

prepare-all: ## the same for test-all
	@echo "== prepare-all: all Erlangs, root file systems, Pythons and controllers, and Debian's packages"
	@BEAMOPS_PYTHONS='$(pythons)' BEAMOPS_CORES='$(cores)' $(tools)/prepare $(otps)

lint: ## style, types, imports and metadata, from the source alone
	@echo '== lint: style, types, imports and metadata, from the source alone'
	@$(run) lint $(tools)/lint
	@$(run) lint reuse --root '$(CURDIR)' lint --quiet

sanity: ## ansible-test sanity, with nothing skipped
	@echo '== sanity: ansible-test, with nothing skipped'
	@$(tools)/ansible_test sanity --venv --python "$$($(run) unit python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"

sanity-all: ## the same with every ansible-core that the collection supports, and every Python of a target
	@echo '== sanity-all: every ansible-core that the collection supports, and every Python of a target'
	@$(tools)/sanity $(cores)

unit: ## pytest tests/unit, without Erlang
	@echo '== unit: each part by itself, without Erlang'
	@$(tools)/unit

unit-all: ## the same with every CPython of a target that this machine or a later Debian has
	@echo '== unit-all: each part by itself, with every CPython of a target that this machine or a later Debian has'
	@$(tools)/unit $(pythons)

coverage: ## which lines and branches tests/unit covers; fails under 95 % of branches; not a part of test
	@echo '== coverage: which lines and branches tests/unit covers'
	@$(tools)/coverage 95

mutation: ## small changes to the pure files that no unit test notices; takes ten minutes; writes a table of the docs
	@echo '== mutation: small changes to the pure files that no unit test notices'
	@$(tools)/mutation $(ONLY)

integration: ## pytest tests/integration, with real nodes of some releases of OTP on private hosts
	@echo '== integration: real nodes of some releases of OTP on private hosts'
	@$(tools)/integration $(few_otps)

integration-all: ## the same with OTP 29 and more Pythons; writes tables of the docs
	@echo '== integration-all: real nodes of all releases of OTP on private hosts'
	@BEAMOPS_EVERY_RELEASE=yes BEAMOPS_RUNS=1000 BEAMOPS_BOOTED='$(otps)' BEAMOPS_PYTHONS='$(pythons)' BEAMOPS_CORES='$(cores)' BEAMOPS_TABLES='$(CURDIR)/docs/docsite/rst' $(tools)/integration $(otps)

promises: ## write the page of what is promised from the reports that test-all left
	@echo '== promises: what is promised, and how many tests stand behind it'
	@$(run) unit python '$(CURDIR)/$(tools)/promises.py' '$(reports)'

browser: ## pytest tests/browser: the page of a fleet in a real browser, and its report for programs
	@echo '== browser: the page of a fleet in a real browser, and its report for programs'
	@$(tools)/browser

picture: ## take the picture of the page for the README and the documentation
	@echo '== picture: the page of a fleet, for the README and the documentation'
	@$(tools)/browser --picture '$(CURDIR)/docs/docsite/rst/images/page.png'

molecule: ## the scenarios of extensions/molecule, on several hosts reached over ssh
	@echo '== molecule: the role and the playbooks, on several hosts reached over ssh'
	@$(MAKE) --no-print-directory --jobs="$$(nproc)" --output-sync=target $(scenarios:%/molecule.yml=%)

extensions/molecule/%: FORCE
	@$(tools)/molecule test --scenario-name $*

FORCE:

docs: ## the documentation as a site, in dist/docs
	@echo '== docs: the documentation as a site, in dist/docs'
	@$(run) docs $(tools)/docs "$(CURDIR)/dist/docs"

fuzz: ## ten million hostile inputs for the decoders; a quarter of an hour; writes a table of the docs
	@echo '== fuzz: ten million hostile inputs for the decoders'
	@$(tools)/fuzz 10000000

differential: ## our terms, handshake and calls against Erlang's own, with millions of terms; writes a table of the docs
	@echo "== differential: our terms, handshake and calls against Erlang's own"
	@$(tools)/differential 500000

killed: ## a repair killed, or refused, at each of its system calls; takes half an hour; not a part of test
	@echo '== killed: a repair killed, or refused, at each of its system calls'
	@$(tools)/killed

soak: ## 20,000 runs against one node, with losses and restarts among them; takes a quarter of an hour; not a part of test
	@echo '== soak: 20,000 runs against one node, with losses and restarts among them'
	@$(tools)/soak

bench-smallest: ## see that each benchmark runs, at its smallest size
	@echo '== bench-smallest: each benchmark runs, at its smallest size'
	@$(tools)/bench --smallest

bench: ## measure what it costs, and write that into docs/; `make bench ONLY="module wire"` does a part
	@echo '== bench: what it costs'
	@$(tools)/bench $(ONLY)

import: ## galaxy-importer, REUSE and ansible-builder on the artifact
	@echo '== import: galaxy-importer, REUSE and ansible-builder on the artifact'
	@$(tools)/importer

build: ## the artifact for Ansible Galaxy, in dist/
	@echo '== build: the artifact for Ansible Galaxy, in dist/'
	@$(run) unit ansible-galaxy collection build --force --output-path "$(CURDIR)/dist"

requirements: ## pin the newest versions of all tools, in tests/requirements
	@echo '== requirements: the newest versions of all tools'
	@$(tools)/requirements

clean: ## delete what was built in this checkout; tools and Erlangs stay in the cache
	@echo '== clean: delete what was built in this checkout'
	@rm -rf dist .ansible tests/output .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
