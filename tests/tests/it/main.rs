//! Integration tests, one binary. What belongs where:
//!
//! - `author`: what the author's kit finds in adapters, and signed files.
//! - `catalog`: the adapter directory and the cache of compiled code.
//! - `kit`: what an adapter's author uses.
//! - `sandbox`: hostile adapters against the adapter runtime.

mod author;
mod catalog;
mod kit;
mod sandbox;
