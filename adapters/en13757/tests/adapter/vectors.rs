//! The golden vectors, natively, and what damage to their frames may do.

use en13757::En13757;
use polymeter_sdk::vectors;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

#[test]
fn golden_vectors() {
    vectors::check::<En13757>(VECTORS);
}

#[test]
fn damage_is_recognised() {
    vectors::truncations_and_bitflips::<En13757>(VECTORS);
}
