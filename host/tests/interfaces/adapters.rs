//! Adapters through the API: a bad one replaces nothing.

use crate::served::{Served, code, token};
use polymeter::journal::Role;
use polymeter::limits;
use serde_json::json;

fn upload(served: &Served, path: &str, bytes: Vec<u8>) -> (u16, String) {
    served.raw("PUT", path, &[("authorization", Some(format!("Bearer {}", token(Role::Admin))))], bytes)
}

#[test]
fn what_is_no_adapter_is_refused_and_leaves_nothing_behind() {
    let served = Served::start();
    for (path, bytes, status, says) in [
        ("adapters/usp.wasm", b"not wasm".to_vec(), 422, "adapter-rejected"),
        ("adapters/usp.wasm", b"\0asm\x01\0\0\0".to_vec(), 422, "adapter-rejected"),
        ("adapters/..%2Fusp.wasm", b"x".to_vec(), 400, "bad-request"),
        ("adapters/usp.so", b"x".to_vec(), 400, "bad-request"),
        ("adapters/usp.wasm", vec![0; limits::COMPONENT_BYTES_MAX + 1], 413, "more than the 16777216 bytes"),
    ] {
        let (got, text) = upload(&served, path, bytes);
        assert!(got == status && text.contains(says), "{path}: {got} {text}");
    }
    let (_, listed) = served.get("adapters");
    assert_eq!(listed["items"], json!([]));
    let files = std::fs::read_dir(served.dir.join("data/adapters")).expect("the directory").count();
    assert_eq!(files, 0);
    let (status, text) = served.raw(
        "DELETE",
        "adapters/usp.wasm",
        &[("authorization", Some(format!("Bearer {}", token(Role::Admin))))],
        Vec::new(),
    );
    assert!(status == 404 && text.contains("not-found"), "{text}");
}

/// What a change of who serves does not go by is refused, rather than that another version serves than was named.
#[test]
fn a_change_takes_only_what_it_goes_by() {
    let served = Served::start();
    for (path, body) in [
        ("adapters/usp/rollback", json!({"version": "1.0.0"})),
        ("adapters/usp/rollback", json!({"allow_downgrade": true, "reason": "back"})),
        ("adapters/usp/rollback", json!({"even_active": true})),
        ("adapters/usp/activate", json!({"even_active": true})),
        ("adapters/usp/retire", json!({"allow_downgrade": true, "reason": "gone"})),
    ] {
        let answer = served.by(Role::Admin, "POST", path, Some(body.clone()));
        assert_eq!(code(&answer), (400, "bad-request"), "{path} {body}: {answer:?}");
        let refused = body.as_object().and_then(|body| body.keys().find(|key| *key != "reason")).expect("a field");
        assert!(answer.1.to_string().contains(refused.as_str()), "{path} {body}: {answer:?}");
    }
    for (path, body) in [
        ("adapters/usp/rollback", json!({"reason": "back"})),
        ("adapters/usp/activate", json!({"version": "1.0.0", "reason": "back", "allow_downgrade": true})),
        ("adapters/usp/retire", json!({"version": "1.0.0", "reason": "gone", "even_active": true})),
    ] {
        let answer = served.by(Role::Admin, "POST", path, Some(body));
        assert_eq!(code(&answer), (404, "not-found"), "{path}: understood, but nothing is installed: {answer:?}");
    }
}
