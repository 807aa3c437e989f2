//! Integration tests, one binary. What belongs where:
//!
//! - `author`: what the author's kit finds in adapters, and signed files.
//! - `dropins`: the adapter directory, and the cache of compiled code.
//! - `kit`: what an adapter's author uses.
//! - `lifecycle`: who serves, going back, quarantine, restarts.
//! - `profiles`: how devices are spoken to, and who decides it.
//! - `sandbox`: hostile adapters against the adapter runtime.
//! - `trust`: signatures and the trust file, and every way around them.

mod author;
mod dropins;
mod kit;
mod lifecycle;
mod profiles;
mod sandbox;
mod trust;
