//! Commands from asking to the end, as far as no device is needed.

use crate::served::{Served, code, frame, registration};
use polymeter::journal::Role;
use serde_json::{Value, json};

fn ask(served: &Served, device: &str, command: &Value) -> (u16, Value) {
    served.by(Role::Operator, "POST", "commands", Some(json!({"device": device, "command": command, "note": "why"})))
}

#[test]
fn a_command_is_durable_listed_and_can_be_taken_back() {
    let served = Served::start();
    served.tell(frame("1", vec![registration()], false));
    let (status, accepted) =
        ask(&served, "usp/1", &json!({"valve": {"order": "close-forced", "reason": "balance-exhausted"}}));
    assert_eq!(status, 201, "{accepted}");
    let id = accepted["id"].as_u64().expect("a number");
    let (_, shown) = served.get(&format!("commands/{id}"));
    assert_eq!(
        (&shown["state"], &shown["name"], &shown["by"], &shown["note"], &shown["finished"]),
        (&json!("queued"), &json!("valve"), &json!("operator"), &json!("why"), &json!(false)),
        "{shown}"
    );
    assert_eq!(shown["command"]["valve"]["order_id"], json!(id));
    assert_eq!(shown["steps"][0]["detail"], "by operator: why");
    assert_eq!(served.get("devices/usp/1").1["commands_waiting"], 1);

    let second = ask(&served, "usp/1", &json!({"valve": {"order": "permit-open"}}));
    assert_eq!(code(&second), (409, "valve-busy"));
    assert_eq!(served.get("commands?open=true").1["items"].as_array().map(Vec::len), Some(1));

    let cancel = format!("commands/{id}/cancel");
    assert_eq!(served.by(Role::Operator, "POST", &cancel, None).0, 200);
    assert_eq!(code(&served.by(Role::Operator, "POST", &cancel, None)), (409, "not-waiting"));
    let (_, shown) = served.get(&format!("commands/{id}"));
    assert_eq!((&shown["state"], &shown["finished"]), (&json!("cancelled"), &json!(true)));
    assert_eq!(shown["steps"].as_array().map(Vec::len), Some(2));
    assert_eq!(served.get("commands?open=true").1["items"], json!([]));
    assert_eq!(served.get("devices/usp/1/commands").1["items"][0]["id"], json!(id));
}

#[test]
fn a_device_may_be_asked_as_soon_as_it_was_acknowledged() {
    let served = Served::start();
    // Enough that the views take a moment.
    served.write((1..=3_000).map(|n: u32| frame(&n.to_string(), vec![registration()], false)).collect());
    let accepted = ask(&served, "usp/3000", &json!({"read": {"scope": "current"}}));
    assert_eq!(accepted.0, 201, "{}", accepted.1);
}

#[test]
fn what_cannot_be_done_is_said_at_once() {
    let served = Served::start();
    served.tell(frame("1", vec![registration()], false));
    for (device, command, expected) in [
        ("usp/2", json!({"read": {"scope": "current"}}), (404, "unknown-device")),
        ("usp/1", json!({"fly": {}}), (400, "bad-request")),
        ("usp/1", json!("read"), (400, "bad-request")),
        ("usp/1", json!({"set-parameters": []}), (400, "bad-request")),
        ("usp/1", json!({"set-schedule": {"minute_of_day": 1440}}), (400, "bad-request")),
        ("usp", json!({"read": {"scope": "current"}}), (400, "bad-request")),
        ("usp/1", json!({"end-session": {"reason": "done"}}), (422, "not-possible")),
        ("usp/1", json!({"valve": {"order": "close-forced", "order_id": 7}}), (422, "not-possible")),
        ("usp/1", json!({"valve": {"order": "close-forced", "reason": "no-such-code"}}), (422, "not-possible")),
        (
            "usp/1",
            json!({"read-history": {"interval": "day", "first": "2024-03-02T00:00:00", "last": "2024-03-01T00:00:00"}}),
            (422, "not-possible"),
        ),
    ] {
        let answer = ask(&served, device, &command);
        assert_eq!(code(&answer), expected, "{command}: {answer:?}");
    }
    let twice = br#"{"device": "usp/1", "command": {"valve": {"order": "close-forced", "order": "permit-open"}}}"#;
    let token = Some(format!("Bearer {}", crate::served::token(Role::Operator)));
    let (status, told) = served.raw("POST", "commands", &[("authorization", token)], twice.to_vec());
    assert!(status == 400 && told.contains("`order` stands there twice"), "{status} {told}");
    let (_, told) = ask(&served, "usp/1", &json!("read"));
    assert!(
        told["error"]["message"].as_str().is_some_and(|m| m.contains(r#"{"read": {"scope": "current"}}"#)),
        "{told}"
    );
    for (method, path, body, says) in [
        ("POST", "commands", Some(json!({"device": 5})), "device: invalid type: integer `5`"),
        ("POST", "commands", Some(json!({"device": "usp/1", "command": {}, "expires_s": -1})), "a whole number from 0"),
        ("GET", "commands/abc", None, "`abc` stands in the path where a whole number from 0 is expected"),
        ("GET", "commands?limit=many", None, "limit: a whole number from 0 is wanted"),
    ] {
        let (status, told) = served.by(Role::Operator, method, path, body);
        let message = told["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(says) && !message.contains("u64"), "{path}: {told}");
        assert!(!message.contains("eserialize"), "{path}: {told}");
    }
    let long = json!({"device": "usp/1", "command": {"read": {"scope": "current"}}, "expires_s": 0});
    assert_eq!(code(&served.by(Role::Operator, "POST", "commands", Some(long))), (422, "not-possible"));
    assert_eq!(code(&served.by(Role::Operator, "POST", "commands/999/cancel", None)), (404, "not-found"));
    let large = json!({"device": "usp/1", "command": "x".repeat(polymeter::limits::REQUEST_BYTES_MAX)});
    let refused = served.by(Role::Operator, "POST", "commands", Some(large));
    assert_eq!(code(&refused), (413, "too-large"));
    assert!(refused.1.to_string().contains(&polymeter::limits::REQUEST_BYTES_MAX.to_string()), "{refused:?}");
    assert_eq!(served.get("commands").1["items"], json!([]));
}
