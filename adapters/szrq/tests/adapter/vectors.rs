//! The golden vectors, natively, and what damage to their frames may do.

use polymeter_sdk::vectors;
use szrq::Szrq;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

#[test]
fn golden_vectors() {
    vectors::check::<Szrq>(VECTORS);
}

#[test]
fn damage_is_recognised() {
    vectors::truncations_and_bitflips::<Szrq>(VECTORS);
}
