#!/bin/sh
# What CI runs: needs Rust with the wasm32-unknown-unknown target, and `polymeter` on the path.
set -eu
cd "$(dirname "$0")"
cargo test --locked
polymeter adapter build -o target/hello_adapter.wasm
polymeter adapter check target/hello_adapter.wasm
polymeter adapter test target/hello_adapter.wasm
polymeter adapter bench target/hello_adapter.wasm
