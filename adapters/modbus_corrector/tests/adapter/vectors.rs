//! The golden vectors, natively, and what damage to their frames may do.

use modbus_corrector::ModbusCorrector;
use polymeter_sdk::vectors;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

#[test]
fn golden_vectors() {
    vectors::check::<ModbusCorrector>(VECTORS);
}

#[test]
fn damage_is_recognised() {
    vectors::truncations_and_bitflips::<ModbusCorrector>(VECTORS);
}
