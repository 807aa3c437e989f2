//! The published description is a promise: a change of it is seen in review.

use serde_json::Value;
use std::collections::BTreeSet;
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

/// What generators of clients ask of a description, beyond what its types hold.
#[test]
fn every_route_has_a_name_and_every_answer_a_description() {
    let described: Value = serde_json::from_str(&polymeter::api::description()).expect("JSON");
    let mut names = BTreeSet::new();
    for (path, item) in described["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let name = operation["operationId"].as_str().unwrap_or_default();
            assert!(
                !name.is_empty() && names.insert(name),
                "{method} {path}: `{name}` names nothing, or another one, too"
            );
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_path: BTreeSet<_> = parameters
                .filter(|p| p["in"] == "path")
                .map(|p| {
                    assert!(p["schema"]["type"].is_string(), "{method} {path}: {p}");
                    p["name"].as_str().expect("a name")
                })
                .collect();
            let wanted: BTreeSet<_> =
                path.split('/').filter_map(|word| word.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(in_path, wanted, "{method} {path}");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let words = response["description"].as_str().unwrap_or_default();
                assert!(!words.is_empty(), "{method} {path}: {status} has no description");
            }
        }
    }
}
