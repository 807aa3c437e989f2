//! The published description is a promise: a change of it is seen in review.

use std::path::Path;

/// Rewrites the golden file instead of comparing with it.
const UPDATE: &str = "UPDATE_GOLDEN";

#[test]
fn the_description_is_as_agreed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openapi.json");
    let now = polymeter::api::description() + "\n";
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let agreed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = agreed.lines().zip(now.lines()).position(|(a, b)| a != b);
    assert!(
        agreed == now,
        "the API's description has changed, first in line {}; if that is meant, run this test with {UPDATE}=1",
        differs.unwrap_or_else(|| agreed.lines().count()) + 1
    );
}
