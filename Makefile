# Works with GNU make 3.81 and a stock Python 3.11 to 3.14; everything it makes lies in .venv and data/.
SHELL := /bin/sh
PYTHON ?=
LANDING ?=
LAND_OPTIONS ?=
EXPORT ?=
UNLOAD_OPTIONS ?=
BASE ?=
CALLS ?= 1000000
EXAMPLES ?= 300
SEED ?=
FEEDS ?=
SIZES ?= 1M 10M 40M
PARSE_OPTIONS ?= --no-partial-parse
BENCH_OPTIONS ?=
SHAPE ?= mixed
VERIFY_OPTIONS ?=

BIN := .venv/bin
DBT := $(BIN)/dbt
COPYMART := $(BIN)/copymart
# tests/python/conftest.py says how many workers that is, which tests stay together, and which begin first.
PYTEST := $(BIN)/python -m pytest -n auto
HERE := $(CURDIR)

# The user's own dbt and Python settings must not reach these builds, nor these builds the user's warehouse. The daily
# job is the exception: it works on that warehouse.
ifneq ($(MAKECMDGOALS),daily)
$(foreach name,$(filter-out COPYMART_MEMORY_LIMIT,$(filter DBT_% COPYMART_%,$(.VARIABLES))),$(eval unexport $(name)))
endif
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# Without the files of compiled modules each worker of pytest takes four seconds more to begin.
unexport PYTHONDONTWRITEBYTECODE
export DO_NOT_TRACK := 1
export PYTHON LANDING BASE

# $(call settings,FOLDER,DUCKDB FILE): the environment of a build that lives in FOLDER.
settings = DBT_PROFILES_DIR="$(HERE)/$(1)/profiles" DBT_TARGET=duckdb COPYMART_DUCKDB="$(HERE)/$(2)" \
	DBT_TARGET_PATH="$(HERE)/$(1)/target" DBT_LOG_PATH="$(HERE)/$(1)/logs"
# $(call profile,FOLDER): make its profiles folder.
profile = mkdir -p $(1)/profiles && cp profiles.yml.example $(1)/profiles/profiles.yml
# Any value does: parsing for Snowflake reads the profile and opens no connection.
SNOWFLAKE_DUMMY := SNOWFLAKE_ACCOUNT=none SNOWFLAKE_USER=none SNOWFLAKE_PRIVATE_KEY_PATH=none
say = @printf '\n== %s\n' $(1)

ifeq ($(strip $(LANDING)),)
DUCKDB := data/demo.duckdb
EXPORT := data/export
REPORT := data/report.html
LANDED := data/sample/.complete
RUN_LANDING := data/sample
else
DUCKDB := data/own.duckdb
EXPORT := data/own-export
REPORT := data/own-report.html
LANDED :=
RUN_LANDING := $$LANDING
endif
# The sample's templates have settings of their own; seeds/ is the owner's.
SEEDS := scripts/simulate/sample_seeds
SAMPLE_SEEDS := COPYMART_SEEDS=$(SEEDS)
RUN := $(call settings,data,$(DUCKDB)) $(if $(LANDED),$(SAMPLE_SEEDS))
PARSE := $(call settings,data/parse,data/parse/none.duckdb) $(SAMPLE_SEEDS)
UNIT := $(call settings,data/unit,data/unit/unit.duckdb) $(SAMPLE_SEEDS)

.PHONY: help venv venv-dev lock run daily check test lint ruff mypy sqlfluff parse grammar unit quick pytest truth replay statistics \
	verify-snowflake ci-slim bench clean

help: ## list the targets
	@echo "Where to begin:"
	@echo "  make run        sample logs to marts, Parquet, a table of the variants and the report"
	@echo "or step by step, after make venv, cp profiles.yml.example profiles.yml and source .venv/bin/activate:"
	@echo "  copymart simulate logs"
	@echo "  copymart land --calls logs/justai/calls --events logs/customerio/events"
	@echo "  dbt build"
	@echo "  copymart report --to report.html"
	@echo "  copymart unload --to export"
	@echo
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
	@echo "Variables:"
	@echo "  LANDING=DIR  make run on your own files: a folder or s3://bucket/prefix that holds justai/calls, justai/sends with justai/variants, customerio/events, customerio/sync or pipelines/calls"
	@echo "  EXPORT=DIR   make daily: the folder to unload to; default export. UNLOAD_OPTIONS='--start 2026-01-01' and more"
	@echo "  LAND_OPTIONS='--role-arn ARN --region R'  more options of copymart land"
	@echo "  PYTHON=/usr/bin/python3.12  the Python that makes .venv; default: the newest of 3.11 to 3.14 on the path"
	@echo "  BASE=REF     make ci-slim: the branch or commit to compare with, e.g. origin/main"
	@echo "  CALLS=N      make truth: the number of calls; default 1000000"
	@echo "  EXAMPLES=N   make replay: the number of histories; default 300. SEED=N plays those of an earlier run again;"
	@echo "               FEEDS='sync, webhooks' with these feeds as engagement_feeds"
	@echo "  SIZES='1M 10M'  make bench: the numbers of calls; default 1M 10M 40M"
	@echo "  VERIFY_OPTIONS='--calls 500'  options of make verify-snowflake: also stages, another --report, see its --help"
	@echo "  SHAPE=impressions  make bench: one call per journey, many copies, few clicks, e.g. with SIZES=81M"
	@echo "  BENCH_OPTIONS='--runs 5 --no-naive'  more options of python -m scripts.dev.bench, see its --help"

venv: ## make .venv and install requirements.lock into it: what make run and your own commands need
	@sh scripts/dev/make_venv.sh .venv requirements.lock "$$PYTHON"

venv-dev: ## the same with requirements-dev.lock: also the linters, fakes and servers that only tests need
	@sh scripts/dev/make_venv.sh .venv requirements-dev.lock "$$PYTHON"

# The dev lock first, then what users run within it, so that both name the same versions.
lock: ## bring both locks to the newest versions that pyproject.toml allows
	@$(or $(PYTHON),python3) -m venv data/uv && data/uv/bin/python -m pip -q install uv
	@for options in "--group dev -o requirements-dev.lock" "--group build -c requirements-dev.lock -o requirements.lock"; do \
	  data/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" pyproject.toml $$options || exit 1; \
	done

run: venv $(LANDED) ## sample logs (or LANDING=...) to marts, Parquet, a table of the variants and the report
	@$(call profile,data)
	$(call say,"Landing into $(DUCKDB)")
	@$(RUN) $(COPYMART) land --landing "$(RUN_LANDING)" $(LAND_OPTIONS)
	$(call say,"Building the models (dbt build)")
	@$(RUN) $(DBT) --log-level warn build
	$(call say,"Unloading Parquet to $(EXPORT)")
	@$(RUN) $(COPYMART) unload --to $(EXPORT)
	$(call say,"Variants")
	@$(RUN) $(BIN)/python -m scripts.dev.summary
	$(call say,"The report")
	@$(RUN) $(COPYMART) report --to $(REPORT)
	@echo
	@echo "Warehouse:  $(DUCKDB), schemas staging, intermediate, marts, audit"
	@echo "Parquet:    $(EXPORT)/<dataset>/YYYY/MM/DD/HH/"
	@echo "Ask it:     DBT_PROFILES_DIR=data/profiles COPYMART_DUCKDB=$(DUCKDB) $(DBT) --no-write-json show --inline 'select * from marts.copy_metrics_daily'"
	@echo "Report:     $(HERE)/$(REPORT), which copy wins: open it in a browser"

# Another sample means another warehouse: rows of files that are gone would stay in the old one.
data/sample/.complete: $(wildcard scripts/simulate/*.py) | venv
	$(call say,"Making sample logs in data/sample")
	@rm -rf data/sample data/demo.duckdb data/demo.duckdb.wal
	@mkdir -p data
	@$(COPYMART) simulate data/sample --calls 20000 --days 14 --seed 1
	@touch $@

daily: venv ## the day on your own warehouse and profile: land LANDING, extract EXTRACT, build, unload to EXPORT; SEND=1 sends
	@[ -n "$$LANDING" ] || { echo "error: say where the logs lie: make daily LANDING=s3://bucket/prefix EXPORT=folder" >&2; exit 1; }
# a file that was refused holds up no other: what landed is built and unloaded, and the status says that something is amiss
	@landed=0; \
	$(COPYMART) land --landing "$$LANDING" $(LAND_OPTIONS) || landed=1; \
	[ -z "$$EXTRACT" ] || $(COPYMART) extract --what "$$EXTRACT" $(EXTRACT_OPTIONS) || landed=1; \
	$(DBT) build --exclude-resource-type unit_test --vars 'test_scope: changed' && \
	$(COPYMART) unload --to "$(or $(EXPORT),export)" $(UNLOAD_OPTIONS) || exit 1; \
	[ -z "$$SEND" ] || $(COPYMART) send $(SEND_OPTIONS) || landed=1; \
	for audience in $$ACTIVATE; do $(COPYMART) activate "$$audience" $(ACTIVATE_OPTIONS) || landed=1; done; \
	[ $$landed = 0 ] || { echo "error: land, extract, send or activate ended with an error, see above; all else was done" >&2; exit 1; }

# $(call steps,JOBS,STEPS,VARIABLES): each step's output is shown whole when it ends, and a step that fails does not stop the others. GNU make 3.81 has no --output-sync.
steps = @mkdir -p data/steps && $(MAKE) --no-print-directory --keep-going --jobs $(1) $(3) $(addprefix step-,$(2))
step-%:
	@$(MAKE) --no-print-directory $* >data/steps/$*.log 2>&1; status=$$?; cat data/steps/$*.log; exit $$status

check: venv-dev ## the quick loop: lint, parse, dbt's unit tests, the Python tests without servers or builds
	$(call steps,4,quick unit parse mypy sqlfluff ruff,PARSE_OPTIONS=)

lint: venv-dev ## the three together
	$(call steps,2,ruff mypy sqlfluff)

ruff: venv-dev ## ruff: style and format of the Python
	$(call say,"ruff")
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

mypy: venv-dev ## mypy: types of the Python
	$(call say,"mypy")
	@$(BIN)/mypy scripts

SQL := $(shell find models macros tests -name '*.sql')
# What every file is rendered and judged by.
SQL_CONTEXT := .sqlfluff requirements-dev.lock $(shell find macros .ci/sqlfluff_context -name '*.sql' -o -name '*.py')

sqlfluff: data/steps/sqlfluff.clean ## sqlfluff: style of the SQL files that changed

# Only what changed since all was clean: the whole takes 87 processor seconds.
data/steps/sqlfluff.clean: $(SQL) $(SQL_CONTEXT) | venv-dev
	$(call say,"sqlfluff")
	@mkdir -p $(@D) && touch $@.new
	@$(BIN)/sqlfluff lint --processes 2 --disable-progress-bar $(if $(filter $(SQL_CONTEXT),$?),models macros tests,$?)
	@mv $@.new $@

# $(call fresh_parse,TARGET): without what dbt keeps of a parse where a YAML file changed since: dbt 1.12 would then find
# the metrics of the semantic layer twice.
fresh_parse = find models seeds dbt_project.yml -name '*.yml' -newer $(1)/partial_parse.msgpack 2>/dev/null | grep -q . && \
	rm $(1)/partial_parse.msgpack || true

# Two folders: dbt's parse cache is of one target. It keeps what was clean: a parse that fails writes none.
parse: venv-dev ## dbt parse for both targets; any dbt warning is an error
	@$(call profile,data/parse)
	@$(call fresh_parse,data/parse/target)
	@$(call fresh_parse,data/parse/target-snowflake)
	$(call say,"dbt parse for duckdb")
	@$(PARSE) $(DBT) --log-level warn --warn-error-options '{"error": "all"}' parse $(PARSE_OPTIONS)
	$(call say,"dbt parse for snowflake")
	@$(PARSE) $(SNOWFLAKE_DUMMY) $(DBT) --log-level warn --warn-error-options '{"error": "all"}' \
		parse $(PARSE_OPTIONS) --target snowflake --target-path data/parse/target-snowflake

grammar: venv-dev ## compile for Snowflake both ways, and parse that by sqlfluff's Snowflake grammar
	@$(call profile,data/parse)
	$(call say,"dbt compile for snowflake both ways")
	@rm -rf data/parse/target-snowflake-false/compiled data/parse/target-snowflake-true/compiled
	@for incremental in false true; do \
	  $(PARSE) $(SNOWFLAKE_DUMMY) $(DBT) --quiet compile --no-populate-cache --no-introspect --target snowflake \
	    --target-path data/parse/target-snowflake-$$incremental --vars "compile_incremental: $$incremental" || exit 1; \
	done
	$(call say,"sqlfluff's Snowflake grammar over what was compiled")
	@$(BIN)/python -m scripts.dev.check_grammar data/parse/target-snowflake-false/compiled data/parse/target-snowflake-true/compiled

# --empty: the tables hold nothing. Unit tests bring their own rows; one line that is rejected makes the landing tables.
# Once all passed, only what changed since then is built and tested.
UNIT_STATE := data/unit/state
unit: venv-dev ## dbt's unit tests of what changed, on models built without rows
	@$(call profile,data/unit)
	@$(call fresh_parse,data/unit/target)
	$(call say,"dbt unit tests")
	@if [ -f data/unit/unit.duckdb ] && diff -q dbt_project.yml $(UNIT_STATE) >/dev/null 2>&1 && \
	  diff -qr $(SEEDS) $(UNIT_STATE)/seeds >/dev/null 2>&1; then \
	  changed="--select state:modified+ --state $(UNIT_STATE)"; \
	else \
	  rm -rf data/unit/unit.duckdb data/unit/unit.duckdb.wal; \
	fi; \
	mkdir -p data/unit/landing && echo '{}' >data/unit/landing/lines.jsonl && \
	$(UNIT) $(COPYMART) land --calls data/unit/landing --events data/unit/landing >/dev/null && \
	$(UNIT) $(DBT) --log-level error build --empty --full-refresh --exclude-resource-type test $$changed && \
	rm -rf $(UNIT_STATE) && mkdir -p $(UNIT_STATE) && \
	cp dbt_project.yml data/unit/target/manifest.json $(UNIT_STATE) && cp -RL $(SEEDS) $(UNIT_STATE)/seeds

quick: venv-dev ## the Python tests that start no server and no dbt, with fewer cases of what is random or killed
	$(call say,"pytest without servers and builds")
	@COPYMART_TEST_QUICK=1 $(PYTEST) -q -m "not integration"

pytest: venv-dev ## all Python tests, on one worker more than there are cores
	$(call say,"pytest")
	@$(PYTEST)

truth: venv-dev ## every mart cell against the truth of CALLS simulated calls, by webhooks, and with the sync beside them
	$(call say,"$(CALLS) simulated calls against their truth")
	@COPYMART_TEST_CALLS=$(CALLS) $(BIN)/python -m pytest tests/python/models/test_truth.py tests/python/models/test_answers.py \
	  tests/python/models/test_both_feeds.py -k "((test_truth or test_answers) and not breaking) or test_a_second_feed_changes_no_number"

replay: venv-dev ## incremental builds against full ones in EXAMPLES random histories
	$(call say,"$(EXAMPLES) random histories against full builds")
	@COPYMART_REPLAY_EXAMPLES=$(EXAMPLES) COPYMART_REPLAY_SEED=$(SEED) COPYMART_REPLAY_FEEDS="$(FEEDS)" \
	  $(BIN)/python -m pytest tests/python/models/test_replay.py

# gbstats wants an older numpy than the lock has, and a pandas that Python 3.12 and later have no wheels of.
data/gbstats/bin/python: | venv-dev
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 12) and \
	  "error: gbstats 0.8.0, which this compares with, installs on Python 3.11 only: make statistics PYTHON=python3.11")'
	@$(BIN)/python -m venv data/gbstats && $@ -m pip -q install gbstats==0.8.0 || { rm -rf data/gbstats; exit 1; }

statistics: venv-dev data/gbstats/bin/python ## the SQL of the statistics against statsmodels, and what intervals and verdicts cover in simulations
	$(call say,"ten thousand random tables and the simulated experiments")
	@data/gbstats/bin/python tests/python/experiments/gbstats_values.py
	@COPYMART_STATISTICS=1 $(PYTEST) -rP tests/python/experiments

verify-snowflake: venv ## the whole way on a Snowflake account beside DuckDB, with roles and a database that are dropped at the end
	@$(BIN)/python -m scripts.snowflake.verify --report data/verified-on-snowflake.md $(VERIFY_OPTIONS)

test: venv-dev ## everything: lint, parse, grammar, pytest
	$(call steps,2,pytest ruff mypy parse sqlfluff grammar)

ci-slim: venv ## build only what differs from BASE=ref, on top of BASE's tables
	@$(BIN)/python -m scripts.dev.ci_slim --base "$$BASE"

bench: venv ## speed, memory and disk beside hand-written SQL; hours and 60 GB at the default SIZES
	@$(BIN)/python -m scripts.dev.bench $(SIZES) --shape $(SHAPE) $(BENCH_OPTIONS)

clean: ## remove what make made: .venv and data/, but no warehouse of yours (data/own*)
	rm -rf .venv
	[ ! -d data ] || find data -mindepth 1 -maxdepth 1 ! -name 'own*' -exec rm -rf {} +
