# Everything a newcomer runs. `make help` lists the targets.
.PHONY: help adapters wasm-target

POLYMETER = cargo run --release --quiet --package polymeter --

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

adapters: wasm-target ## build every bundled adapter to target/adapters/<name>.wasm
	@for adapter in adapters/*/adapter.toml; do $(POLYMETER) adapter build "$$(dirname "$$adapter")" || exit 1; done

# rustup's target where it can be had, else Debian's compiler and library source.
wasm-target:
	@.ci/wasm-target
