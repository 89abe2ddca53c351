# Two commands do everything on a fresh machine: make run, make test.
# The others are the heavy forms of what the tests run small.

SHELL := /bin/bash
.DELETE_ON_ERROR:

CARGO  ?= cargo
PYTHON ?= python3
DATA   ?= sallyport-data
# Where tests and benchmarks keep what they fetch once: model, virtual environment, node modules.
CACHE  ?= .cache

export SALLYPORT_TEST_CACHE ?= $(abspath $(CACHE))

.PHONY: run test model lint deny unit sdk fuzz soak bench overshoot volume train eval help

help: ## Show the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: ## Build the gate, fetch its demo model once, start it on 127.0.0.1:8080.
	@scripts/need.sh cargo gcc $(PYTHON)
	@$(CARGO) build --release --locked -p sallyport
	@if [ -z "$$SALLYPORT_UPSTREAM_KEY$$SALLYPORT_UPSTREAM_URL" ]; then \
	    $(PYTHON) scripts/fetch_model.py $(DATA)/models || echo "The gate starts without its demo model."; fi
	@exec target/release/sallyport serve --data $(DATA)

model: ## Fetch the demo model into the data folder.
	@$(PYTHON) scripts/fetch_model.py $(DATA)/models

test: ## Everything that must hold: format, lints, licences, unit and integration tests, official SDKs.
	@scripts/need.sh cargo gcc $(PYTHON) node npm
	@scripts/need_browser.sh > /dev/null
	@$(MAKE) --no-print-directory lint deny unit sdk

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@# Compiled and not linked, so any file stands for the fuzzer's own library.
	CUSTOM_LIBFUZZER_PATH=$(abspath Makefile) $(CARGO) check --locked --manifest-path fuzz/Cargo.toml
	$(CARGO) xtask reference --check

deny:
	@scripts/cargo_deny.sh check --hide-inclusion-graph bans licenses sources

unit:
	@$(PYTHON) scripts/fetch_model.py $(SALLYPORT_TEST_CACHE)/models
	SALLYPORT_MODEL=$(SALLYPORT_TEST_CACHE)/models/SmolLM2-135M-Instruct.Q4_1.gguf SALLYPORT_MODEL_REQUIRED=1 \
	    $(CARGO) test --locked --workspace

sdk: ## The official Python and Node SDKs against the gate.
	@$(CARGO) build --locked -p sallyport -p testkit
	@tests/sdk/run.sh

fuzz: ## Fuzz every parser of network bytes, a minute each (SECONDS_EACH=60).
	@scripts/fuzz.sh $(or $(SECONDS_EACH),60)

soak: ## Money for minutes: hundreds of clients, growing streams, twenty kills of the gate.
	SALLYPORT_HEAVY=1 $(CARGO) test --locked --release -p sallyport --test gate -- --test-threads 1 \
	    for_minutes killed_twenty_times

bench: ## Measure the gate against nginx as a bare reverse proxy.
	@scripts/need.sh cargo gcc nginx wrk $(PYTHON)
	@$(CARGO) build --release --locked -p sallyport -p testkit
	@$(PYTHON) scripts/bench.py

overshoot: ## Measure how far a limit is overshot: charged afterwards, held, growing.
	@scripts/need.sh cargo gcc $(PYTHON)
	@$(CARGO) build --release --locked -p sallyport -p testkit
	@$(PYTHON) scripts/overshoot.py

volume: ## Fill a database with usage and time the reports (ROWS=10000000; some GB of disk).
	@$(CARGO) run --release --locked -p backends --example volume -- $(or $(ROWS),10000000)

train: ## Train the injection detector from its data, an hour or three (SHARED=folder of the shared rows).
	@scripts/need.sh cargo gcc $(PYTHON)
	@training/run.sh

eval: ## Measure the injection detector on rows that training never saw (SHARED=folder of the shared rows).
	@scripts/need.sh cargo gcc $(PYTHON)
	@$(CARGO) build --release --locked -p sallyport
	@$(PYTHON) training/part.py $(CACHE)/held-out.jsonl $(if $(SHARED),--shared $(SHARED))
	@target/release/sallyport inspect --eval $(CACHE)/held-out.jsonl
