//! Every route that is described exists, turns strangers away, and asks for the role it names.

use crate::served::{Served, code, token};
use polymeter::journal::Role;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// Method, path with its variables filled in, and the role it needs.
fn described(served: &Served) -> Vec<(String, String, Option<Role>)> {
    let (status, description) = served.ask("GET", "openapi.json", None, None);
    assert_eq!(status, 200);
    let mut routes = Vec::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path item") {
            let filled = path
                .replace("{realm}", "usp")
                .replace("{address}", "1")
                .replace("{id}", "1")
                .replace("{slot}", "main")
                .replace("{file}", "a.wasm")
                .replace("{name}", "nobody");
            assert!(!filled.contains('{'), "{path} has a variable that this test does not know");
            let role = operation["security"]
                .as_array()
                .and_then(|list| list.last())
                .and_then(|need| need["token"][0].as_str().map(|role| role.parse().expect("a role")));
            routes.push((method.to_uppercase(), filled, role));
        }
    }
    routes
}

#[test]
fn every_described_route_exists_and_asks_for_its_role() {
    let served = Served::start();
    let routes = described(&served);
    assert!(routes.len() > 25, "{routes:?}");
    for (method, path, role) in routes {
        let body = || Some(json!({}));
        let stranger = served.ask(&method, &path, None, body());
        let Some(role) = role else {
            assert_eq!(stranger.0, 200, "{method} {path}");
            continue;
        };
        if path != "/metrics" {
            assert_eq!(code(&stranger), (401, "no-token"), "{method} {path}");
        }
        for lesser in Role::ALL.into_iter().filter(|lesser| !lesser.includes(role)) {
            let refused = served.by(lesser, &method, &path, body());
            assert_eq!(code(&refused), (403, "not-allowed"), "{method} {path} as {}", lesser.name());
        }
        let (status, answer) = served.by(role, &method, &path, body());
        assert!(status != 401 && status != 403 && status != 405, "{method} {path}: {status} {answer}");
        if status == 404 {
            assert_ne!(answer["error"]["code"], "no-such-route", "{method} {path}");
        }
    }
}

/// A refusal that needs no body still waits for it: the client hears the reason, and goes on on the same connection.
#[test]
fn who_is_refused_hears_why_however_late_his_body_comes() {
    let served = Served::start();
    let address = served.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("a socket option");
    let mut answers = BufReader::new(stream.try_clone().expect("a second handle"));
    for _ in 0..3 {
        let head = format!("POST /api/v1/commands HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(b"{}").expect("the connection is open");
        let (mut line, mut bytes) = (String::new(), 0);
        answers.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("HTTP/1.1 401"), "{line:?}");
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).expect("a header");
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                bytes = length.trim().parse().expect("a length");
            }
        }
        answers.read_exact(&mut vec![0; bytes]).expect("the reason");
    }
}

#[test]
fn what_is_no_token_opens_nothing() {
    let served = Served::start();
    let viewer = token(Role::Viewer);
    for header in [
        String::new(),
        "Bearer".into(),
        viewer.clone(),
        format!("Basic {viewer}"),
        format!("Bearer {viewer}0"),
        format!("Bearer pmt_{}", "4".repeat(64)),
    ] {
        let (status, _) = served.raw("GET", "station", &[("authorization", Some(header.clone()))], Vec::new());
        assert_eq!(status, 401, "{header}");
    }
}

#[test]
fn refusals_have_one_form() {
    let served = Served::start();
    for (method, path, body, expected) in [
        ("GET", "/api/v1/nothing", Value::Null, (404, "no-such-route")),
        ("GET", "/elsewhere", Value::Null, (404, "no-such-route")),
        ("PATCH", "/api/v1/devices", Value::Null, (405, "method-not-allowed")),
        ("GET", "/api/v1/devices?limit=0", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/devices?limit=many", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/commands/seven", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/commands/7", Value::Null, (404, "not-found")),
        ("GET", "/api/v1/commands?after=x", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/devices/usp/a%20b", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/devices/usp/404", Value::Null, (404, "unknown-device")),
        ("GET", "/api/v1/days?from=2020-01-01&to=2024-01-01", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/days?from=2024-03-02&to=2024-03-01", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/devices/usp/1/readings?from=2024-03-02&to=2024-03-01", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/devices/usp/1/events?from=2024-03-02&to=2024-03-01", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/devices/usp/1/series?from=2024-03-02&to=2024-03-01", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/commands?stat=unconfirmed", Value::Null, (400, "bad-request")),
        ("GET", "/api/v1/devices/usp/1/events?quantity=energy", Value::Null, (400, "bad-request")),
        ("PUT", "/api/v1/adapters/usp.wasm?stag=true", Value::Null, (400, "bad-request")),
        ("POST", "/api/v1/commands", json!({"device": "usp/1"}), (400, "bad-request")),
        ("POST", "/api/v1/commands", json!("read"), (400, "bad-request")),
        ("POST", "/api/v1/tokens", json!({"name": "", "role": "viewer"}), (400, "bad-request")),
    ] {
        let answer = served.by(Role::Admin, method, path, Some(body));
        assert_eq!(code(&answer), expected, "{method} {path}: {answer:?}");
        assert!(answer.1["error"]["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
    let slip = served.get("commands?stat=unconfirmed");
    assert!(slip.1.to_string().contains("`stat`") && slip.1.to_string().contains("`state`"), "{slip:?}");
    assert_eq!(served.ask("GET", "/health?from=balancer", None, None).0, 200);
}
