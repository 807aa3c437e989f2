# Everything a newcomer runs. `make help` lists the targets.
#
# One profile (release) and one selection of packages (the workspace) for all, so that nothing is compiled twice: another
# selection would resolve other features of the same dependencies.
CARGO ?= cargo
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: help setup build adapters firmware demo test lint unit bench

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## what adapters and tests need: rustup's wasm target or Debian's packages, and the broker mosquitto
	@.ci/wasm-target
	@.ci/broker

build: ## the station, the fleet simulator and the benchmarks, in target/release
	$(CARGO) build --release --workspace --bins

adapters: setup build ## every bundled adapter, as target/adapters/<name>.wasm
	@mkdir -p target/adapters
	@for manifest in adapters/*/adapter.toml; do \
		dir=$$(dirname $$manifest); name=$$(basename $$dir); \
		target/release/polymeter adapter build $$dir -o target/adapters/$$name.wasm || exit 1; \
	done

firmware: setup ## the device side of USP/1 for a microcontroller, with `core` alone
	@.ci/firmware

demo: adapters ## a station and a mixed fleet that talks to it; DEMO_SECONDS=20 ends by itself
	@target/release/fleet demo

test: lint unit firmware ## everything that CI checks

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

unit: adapters
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --release --workspace --no-fail-fast
else
	$(CARGO) test --release --workspace --no-fail-fast
endif

bench: adapters ## the station against a null station, five minutes at most; writes target/bench.json
	@target/release/bench
