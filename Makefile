# Every target does its own set-up, works from any folder (make -C, make -f), as root or not, again and again.
# ARGS is handed on: make demo ARGS=--once, make test ARGS="-k writer". PYTHON names another interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)
export PYTHON
ARGS ?=

IN_ROOT = cd "$(ROOT)"
PY = .venv/bin/python
# Settings of the caller's shell that are meant for other programs must not reach a demo or a test.
CLEAN = env -u DJANGO_SETTINGS_MODULE -u PYTHONPATH -u PYTHONHOME -u PYTHONDONTWRITEBYTECODE -u PGHOST -u PGHOSTADDR -u PGPORT -u PGUSER \
	-u PGPASSWORD -u PGDATABASE -u PGOPTIONS -u PGSSLMODE -u PGSERVICE -u PGPASSFILE -u PGREQUIRESSL \
	-u PGCLIENTENCODING -u PGTZ -u PGDATESTYLE -u PGAPPNAME
# Most tests wait for servers: four at a time, each file in one process, because its tests share servers.
PARALLEL = -n 4 --dist loadfile --no-loadscope-reorder
SHORT = not slow and not long and not matrix
# What a page says hardly depends on where the console keeps its own data: on PostgreSQL these wait for `make test-long`.
PAGES = test_views*.py test_forms*.py test_pages*.py test_access_matrix.py test_odd_input.py test_accounts_language.py
DEMO_DATA = $${TOWPATH_DEMO_DIR:-$(ROOT)/var/demo}

.PHONY: messages help demo demo-clean up test test-long lint gates test-faults test-matrix fuzz screenshots bench bench-copy bench-sync bench-console lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' "$(ROOT)/Makefile"

demo: ## Run everything with two sample servers and a live writer; prints the address and a login
	@$(IN_ROOT); .ci/setup run
	@$(IN_ROOT); exec $(CLEAN) $(PY) manage.py demo $(ARGS)

demo-clean: ## Remove everything that the demo made
	@$(IN_ROOT); data="$(DEMO_DATA)"; \
	if [ ! -e "$$data" ]; then echo "there is no demo to remove"; exit 0; fi; \
	.ci/setup run; $(CLEAN) $(PY) -m migrations_app.demo.world clean "$$data"; echo "the demo is removed"

up: ## Run the product: web server, queue clusters, dispatcher
	@$(IN_ROOT); .ci/setup run
	@$(IN_ROOT); exec $(PY) manage.py up $(ARGS)

lint: ## Style, types, import rules, Django's own checks
	@$(IN_ROOT); .ci/setup lint
	@$(MAKE) -f "$(ROOT)/Makefile" gates

gates:
	@$(IN_ROOT); set -x; \
	$(PY) -m ruff check .; \
	$(PY) -m ruff format --check .; \
	.venv/bin/djade --check --target-version 5.2 $$(git ls-files templates 2>/dev/null || find templates -name '*.html'); \
	$(PY) -m mypy; \
	$(PY) -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())'; \
	$(CLEAN) -u DATABASE_URL $(PY) manage.py check --fail-level WARNING; \
	$(CLEAN) -u DATABASE_URL $(PY) manage.py makemigrations --check --dry-run

test: ## All gates and the tests, on SQLite and again on PostgreSQL
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); started=$$SECONDS; trap 'echo "total: $$((SECONDS - started)) s"' EXIT; \
	$(MAKE) -f "$(ROOT)/Makefile" gates; \
	$(CLEAN) -u DATABASE_URL $(PY) -m pytest $(PARALLEL) -m "$(SHORT)" $(ARGS); \
	$(CLEAN) $(PY) -m tests.with_postgres $(PY) -m pytest $(PARALLEL) -m "$(SHORT)" tests/integration \
		$(foreach page,$(PAGES),--ignore-glob='*/$(page)') $(ARGS)

test-long: ## The tests that `make test` leaves out: every page and button in a browser, every moment of a crash
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL $(PY) -m pytest $(PARALLEL) -m "long and not slow and not matrix" $(ARGS); \
	$(CLEAN) $(PY) -m tests.with_postgres $(PY) -m pytest $(PARALLEL) -m "not slow and not matrix" $(addprefix tests/integration/,$(PAGES)) $(ARGS)

test-faults: ## The long tests: kills, cuts and restarts in every step; writes docs/faults.md
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL TOWPATH_FAULTS_REPORT="$${TOWPATH_FAULTS_REPORT-docs/faults.md}" $(PY) -m pytest \
		$(PARALLEL) -p tests.faults.report -m "slow or fault" $(ARGS)

test-matrix: ## Migrate between all versions of PostgreSQL; fetches their binaries. ARGS="-k 10-to-18" for one pair
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL $(PY) -m pytest -m matrix -p no:randomly tests/matrix $(ARGS)

screenshots: ## Take the pictures of docs/img anew: a whole migration, and every page in both themes
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL TOWPATH_SHOTS=docs/img $(PY) -m pytest \
		tests/acceptance/test_whole_flow.py tests/acceptance/test_screenshots.py -k "moves or test_screenshots" $(ARGS)

fuzz: ## Feed what reads the source's stream with bytes, guided by coverage. ARGS="--seconds 600"
	@$(IN_ROOT); .ci/setup test; $(PY) -m pip install --quiet "$$(sed -n 's/^  "\(atheris==[^"]*\)".*/\1/p' pyproject.toml)"
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL $(PY) -m tests.fuzz $(ARGS)

bench: ## Measure throughput and lag on this machine
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL $(PY) -m tests.bench $(ARGS)

bench-copy: ## Measure the full migration against pgcopydb and pg_dump, in turns, with everybody's CPU
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL $(PY) -m tests.bench.copy $(ARGS)

messages: ## Collect the texts of the console into locale/ (with gettext's tools, where there are any) and compile them
	@$(IN_ROOT); .ci/setup lint; \
	if command -v xgettext >/dev/null; then \
		$(CLEAN) $(PY) manage.py makemessages --locale zh_Hans --no-location --no-wrap --no-obsolete \
			--ignore .venv --ignore var --ignore tests --ignore "migrations_app/migrations/*"; \
	else echo "gettext's tools are missing: nothing is collected (Debian: apt-get install gettext)"; fi; \
	$(CLEAN) $(PY) manage.py compile_translations

bench-sync: ## Measure how fast changes reach the target, side by side with a native subscription
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL $(PY) -m tests.bench.sync $(ARGS)

bench-console: ## Measure the console's pages: 50,000 tables, 2,000 schemas, eight clients
	@$(IN_ROOT); .ci/setup test
	@$(IN_ROOT); $(CLEAN) -u DATABASE_URL $(PY) -m tests.bench.console $(ARGS)

lock: ## Write the lock files anew from pyproject.toml (needs a package index)
	@$(IN_ROOT); .ci/setup test; $(PY) -m pip install --quiet "$$(sed -n 's/^  "\(pip-tools==[^"]*\)".*/\1/p' pyproject.toml)"
	@$(IN_ROOT); options="--quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	--strip-extras --allow-unsafe --no-header --no-annotate"; \
	$(PY) -m piptools compile $$options -o requirements.lock pyproject.toml; \
	$(PY) -m piptools compile $$options --extra test --extra lint -o requirements-test.lock pyproject.toml
