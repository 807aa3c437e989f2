//! Adapters through the API: a bad one replaces nothing.

use crate::served::{Served, token};
use polymeter::journal::Role;
use polymeter::limits;

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
    assert_eq!(listed["items"], serde_json::json!([]));
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
