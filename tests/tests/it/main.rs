//! Integration tests, one binary. What belongs where:
//!
//! - `sandbox`: hostile adapters against the adapter runtime.

mod sandbox;
