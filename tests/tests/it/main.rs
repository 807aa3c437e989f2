//! Integration tests, one binary. What belongs where:
//!
//! - `author`: what the author's kit finds in adapters, and signed files.
//! - `dropins`: the adapter directory, and the cache of compiled code.
//! - `kit`: what an adapter's author uses.
//! - `lifecycle`: who serves, going back, quarantine, restarts.
//! - `sandbox`: hostile adapters against the adapter runtime.
//! - `trust`: signatures and the trust file, and every way around them.

mod author;
mod dropins;
mod kit;
mod lifecycle;
mod sandbox;
mod trust;
