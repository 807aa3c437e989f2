//! Tokens and keys: what goes in does not come out.

use crate::served::{Served, code};
use polymeter::journal::Role;
use serde_json::{Value, json};

#[test]
fn a_token_works_from_its_making_to_its_revocation() {
    let served = Served::start();
    let new = json!({"name": "dashboard", "role": "viewer"});
    let (status, made) = served.by(Role::Admin, "POST", "tokens", Some(new.clone()));
    assert_eq!(status, 201, "{made}");
    let secret = made["token"].as_str().expect("a token");
    assert_eq!(served.ask("GET", "station", Some(secret), None).0, 200);
    assert_eq!(code(&served.ask("GET", "tokens", Some(secret), None)), (403, "not-allowed"));
    assert_eq!(code(&served.by(Role::Admin, "POST", "tokens", Some(new))), (409, "name-taken"));

    let (_, tokens) = served.by(Role::Admin, "GET", "tokens", None);
    let row = tokens["items"].as_array().expect("items").iter().find(|t| t["name"] == "dashboard").expect("listed");
    assert_eq!((&row["role"], &row["by"]), (&json!("viewer"), &json!("admin")));
    assert!(!tokens.to_string().contains(secret));

    assert_eq!(served.by(Role::Admin, "DELETE", "tokens/dashboard", None).0, 204);
    assert_eq!(code(&served.ask("GET", "station", Some(secret), None)), (401, "no-token"));
    assert_eq!(code(&served.by(Role::Admin, "DELETE", "tokens/dashboard", None)), (404, "not-found"));
    let (_, entries) = served.by(Role::Admin, "GET", "journal/entries", None);
    assert!(!entries.to_string().contains(secret));
}

#[test]
fn a_key_goes_in_and_never_comes_out() {
    let served = Served::start();
    let key = "00112233445566778899aabbccddeeff";
    for path in ["keys/usp/1/main", "keys/usp/*/main"] {
        assert_eq!(served.by(Role::Admin, "PUT", path, Some(json!({"key": key}))).0, 204, "{path}");
    }
    let vault = &served.station().services().vault;
    let opened = polymeter::adapter::KeyStore::key(&**vault, &crate::served::device("1"), "main");
    assert_eq!(opened.map(hex::encode).as_deref(), Some(key));
    let (_, keys) = served.by(Role::Admin, "GET", "keys", None);
    let devices: Vec<_> = keys["items"].as_array().expect("items").iter().map(|k| &k["device"]).collect();
    assert_eq!(devices, ["usp/*", "usp/1"]);
    let (_, entries) = served.by(Role::Admin, "GET", "journal/entries", None);
    for answer in [&keys, &entries] {
        assert!(!answer.to_string().contains(key), "{answer}");
    }
    for bad in [json!({"key": "00"}), json!({"key": 5}), Value::Null, json!({"key": key, "x": 1})] {
        let answer = served.by(Role::Admin, "PUT", "keys/usp/2/main", Some(bad));
        assert_eq!(code(&answer), (400, "bad-request"), "{answer:?}");
        assert!(!answer.1.to_string().contains(key), "a refusal repeats no key: {answer:?}");
    }
    assert_eq!(served.by(Role::Admin, "DELETE", "keys/usp/1/main", None).0, 204);
    assert_eq!(code(&served.by(Role::Admin, "DELETE", "keys/usp/1/main", None)), (404, "not-found"));
}
