//! The fleet and what it said.

use crate::served::{Served, code, daily, device, frame, registration};
use polymeter::journal::{Fact, Role};
use polymeter::model::{Event, Message};
use serde_json::{Value, json};

fn keys(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().filter_map(|row| row["device"].as_str()).collect()
}

#[test]
fn devices_are_listed_page_by_page_and_filtered() {
    let served = Served::start();
    for number in 1..=5 {
        let alarms: &[&str] = if number == 4 { &["battery-low"] } else { &[] };
        let messages = vec![registration(), daily("2024-03-01T00:10:00", number, alarms)];
        served.tell(frame(&format!("10{number}"), messages, false));
    }
    served.tell(frame("200", vec![registration()], true));
    let mut seen = Vec::new();
    let mut path = "devices?limit=2".to_owned();
    loop {
        let (status, page) = served.get(&path);
        assert_eq!(status, 200, "{page}");
        seen.extend(keys(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("devices?limit=2&after={}", next.replace('/', "%2F"));
    }
    assert_eq!(seen, ["usp/101", "usp/102", "usp/103", "usp/104", "usp/105", "usp/200"]);
    for (query, expected) in [
        ("prefix=usp%2F10&alarm=battery-low", vec!["usp/104"]),
        ("alarm=any", vec!["usp/104"]),
        ("held=true", vec!["usp/200"]),
        ("prefix=2", vec!["usp/200"]),
        ("alarm=gas-leak", vec![]),
        ("alarm=vendor-x", vec![]),
        ("valve=closed", vec![]),
        ("online=true", vec![]),
    ] {
        assert_eq!(keys(&served.get(&format!("devices?{query}")).1), expected, "{query}");
    }
    let (_, status) = served.get("station");
    assert_eq!(
        (&status["fleet"]["devices"], &status["fleet"]["held"], &status["fleet"]["in_alarm"]),
        (&json!(6), &json!(1), &json!(1)),
        "{status}"
    );
    assert_eq!(status["fleet"]["reported_today"], json!(5));
}

#[test]
fn an_alarm_that_no_device_has_any_more_is_asked_for_as_before() {
    let served = Served::start();
    let path = "devices?alarm=newer-than-this-station";
    for (day, alarms, expected) in [(1, &[][..], &[][..]), (2, &["newer-than-this-station"], &["usp/1"]), (3, &[], &[])]
    {
        let messages = vec![registration(), daily(&format!("2024-03-0{day}T00:10:00"), day, alarms)];
        served.tell(frame("1", messages, false));
        let answer = served.get(path);
        assert_eq!((answer.0, keys(&answer.1)), (200, expected.to_vec()), "day {day}");
    }
    for no_code in ["Gas-Leak", "gas%20leak", "gas_leak", "-", ""] {
        let refused = served.get(&format!("devices?alarm={no_code}"));
        assert_eq!(code(&refused), (400, "bad-request"), "{refused:?}");
    }
}

#[test]
fn a_device_shows_what_it_said_to_the_last_digit() {
    let served = Served::start();
    served.tell(frame("1", vec![registration(), daily("2024-03-01T00:10:00", 123_456, &[])], false));
    served.tell(frame("1", vec![daily("2024-03-02T00:10:00", 123_500, &[])], false));
    let last = served.tell(frame("1", vec![daily("2024-03-04T00:10:00", 130_000, &["tilt"])], false));
    let (_, shown) = served.get("devices/usp/1");
    assert_eq!(shown["model"], "G4", "{shown}");
    assert_eq!(shown["registration"]["capabilities"], json!(["valve"]));
    assert_eq!(shown["valve"]["state"], "open");
    assert_eq!(shown["alarms"], json!(["tilt"]));
    assert_eq!(shown["latest"][0]["value"], "1300.00");
    assert_eq!(shown["counts"]["reports"], 3);

    let (_, readings) = served.get("devices/usp/1/readings?from=2024-03-02&to=2024-03-03&quantity=standard-volume");
    let rows = readings["items"].as_array().expect("items");
    assert_eq!(rows.len(), 1, "{readings}");
    assert_eq!((&rows[0]["at"], &rows[0]["value"]), (&json!("2024-03-02T00:10:00"), &json!("1235.00")));

    let (_, series) = served.get("devices/usp/1/series");
    let days: Vec<_> =
        series["items"].as_array().expect("items").iter().map(|d| (d["value"].as_str(), d["used"].as_str())).collect();
    let expected = [(Some("1234.56"), None), (Some("1235.00"), Some("0.44")), (Some("1300.00"), None)];
    assert_eq!(days, expected);
    let (_, from) = served.get("devices/usp/1/series?from=2024-03-02&to=2024-03-02");
    assert_eq!(from["items"][0]["used"], "0.44", "the day before counts, although it was not asked for");

    let (_, frames) = served.get("devices/usp/1/frames?limit=1");
    assert_eq!(frames["items"][0]["seq"], last.0);
    assert_eq!(frames["items"][0]["raw"], "6816");
    assert_eq!(frames["items"][0]["messages"][0]["registers"][0]["value"], "1300.00");
    let next = frames["next"].as_str().expect("more");
    assert_eq!(served.get(&format!("devices/usp/1/frames?after={next}")).1["items"].as_array().map(Vec::len), Some(2));
}

#[test]
fn events_come_with_the_devices_own_time() {
    let served = Served::start();
    let event = Event {
        subject: None,
        code: "cover-open".into(),
        cleared: false,
        at: Some("2024-03-01T12:00:00".parse().expect("a time")),
        value: None,
        raw_code: 7,
    };
    served.tell(frame("1", vec![registration(), Message::Event(event)], false));
    for path in ["devices/usp/1/events", "events"] {
        let (_, events) = served.get(path);
        assert_eq!(events["items"][0]["code"], "cover-open", "{path}: {events}");
        assert_eq!(events["items"][0]["at"], "2024-03-01T12:00:00");
    }
}

#[test]
fn a_held_device_is_let_in_with_what_it_said_meanwhile() {
    let served = Served::start();
    served.tell(frame("1", vec![registration(), daily("2024-03-01T00:10:00", 100, &[])], true));
    let command = json!({"device": "usp/1", "command": {"read": {"scope": "current"}}});
    let refused = served.by(Role::Operator, "POST", "commands", Some(command.clone()));
    assert_eq!(code(&refused), (409, "device-held"));
    let (status, row) = served.by(Role::Operator, "POST", "devices/usp/1/adopt", None);
    assert_eq!((status, &row["held"], &row["adopted"]), (200, &json!(false), &json!(true)), "{row}");
    assert_eq!(served.get("devices/usp/1/readings").1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(served.by(Role::Operator, "POST", "commands", Some(command)).0, 201);
    let (_, entries) = served.get("journal/entries");
    let adopted = entries["items"].as_array().expect("items").iter().find(|e| e["fact"] == "device-adopted");
    assert_eq!(adopted.expect("an entry")["summary"], "by operator");
}

#[test]
fn frames_in_quarantine_are_shown_with_their_bytes() {
    let served = Served::start();
    let Fact::Frame(mut bad) = frame("1", vec![], false) else { unreachable!("a frame") };
    bad.outcome = polymeter::journal::FrameOutcome::Fault {
        kind: polymeter::journal::FaultKind::Corrupt,
        detail: "checksum".into(),
    };
    bad.device = Some(device("9"));
    served.tell(Fact::Frame(bad));
    let (_, page) = served.get("quarantine?fault=corrupt");
    assert_eq!((&page["items"][0]["fault"], &page["items"][0]["raw"]), (&json!("corrupt"), &json!("6816")), "{page}");
    assert_eq!(served.get("quarantine?fault=trap").1["items"], json!([]));
    let (_, days) = served.get("days");
    assert_eq!((&days["items"][0]["adapter"], &days["items"][0]["faults"]), (&json!("usp"), &json!(1)));
}
