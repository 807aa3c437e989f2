//! Integration tests, one binary. What belongs where:
//!
//! - `catalog`: the adapter directory and the cache of compiled code.
//! - `kit`: what an adapter's author uses.
//! - `sandbox`: hostile adapters against the adapter runtime.

mod catalog;
mod kit;
mod sandbox;
