//! Polls: the station asks by itself, on a schedule or when somebody wants it, and asks nobody twice in one round.

use fleet::station::Settings;
use polymeter_tests::behind::{Lines, Meter};
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{NOON, Terminal, civil};
use serde_json::{Value, json};
use usp::device::Device;

const CONCENTRATOR: &str = "usp/50009900000001";
const METERS: u32 = 6;
const POLLS: &str = r#"
[[polls]]
name = "noon"
read = "current"
adapter = "cjt188"
parent = "usp/50009900000001"
at = "TIME"
deadline_minutes = 60
attempts = 2
gap_ms = 5

[[polls]]
name = "months"
history = "month"
count = 2
kind = "meter"
district = "nowhere"
at = "12:00"
day = 1
"#;

/// A time of day whose last round nobody wants any more: the schedule begins none while a test runs.
fn long_ago() -> String {
    let now = jiff::Timestamp::now().in_tz("Asia/Shanghai").expect("a zone");
    format!("{:02}:{:02}", (now.hour() + 20) % 24, now.minute())
}

fn town() -> (Site, Lines, Terminal) {
    let mut settings = Settings::usual();
    settings.listeners[0].adapters = r#""usp""#.into();
    settings.more = POLLS.replace("TIME", &long_ago());
    let site = Site::with(&settings);
    let lines = Lines::new(civil(NOON), 2_400);
    let client = site.client();
    client.put(&format!("registry/{CONCENTRATOR}"), &json!({"kind": "concentrator"})).expect("a record");
    for n in 0..METERS {
        let (key, record) = lines.add(CONCENTRATOR, Meter::cjt188(&format!("{:014}", 100 + n)), 1);
        client.put(&format!("registry/{key}"), &record).expect("a record");
    }
    site.catch_up();
    let mut device = Device::concentrator("50009900000001");
    device.carrier.behind = lines.behind();
    let mut terminal = Terminal::tcp(device, site.meters());
    assert_eq!(terminal.register().result, 0);
    (site, lines, terminal)
}

fn round(site: &Site) -> Value {
    site.rows("polls/noon/rounds").into_iter().next().unwrap_or_default()
}

fn begin(site: &Site) {
    site.client().post("polls/noon/rounds", &json!({})).expect("a round");
}

fn await_over(site: &Site) -> Value {
    wait_until("the round is over", || {
        Some(round(site)).filter(|round| round["state"] == "over" && round["asked"] == METERS)
    })
}

#[test]
fn a_round_asks_every_meter_that_it_selects_and_tells_what_it_achieved() {
    let (site, lines, mut terminal) = town();
    lines.lock().subs.get_mut("00000000000101").expect("a meter").silent = true;
    begin(&site);
    for _ in 0..=METERS {
        terminal.obey();
    }
    let over = await_over(&site);
    assert_eq!([&over["answered"], &over["failed"]], [&json!(METERS - 1), &json!(1)], "{over}");
    assert_eq!(over["by"], "fleet");
    assert_eq!(lines.lock().subs["00000000000101"].heard, 2, "as often as the poll says");
    let polls = site.rows("polls");
    assert_eq!((&polls[0]["name"], &polls[0]["asks"]), (&json!("noon"), &json!("read current")));
    assert_eq!(
        (&polls[1]["asks"], &polls[1]["of"]),
        (&json!("the last 2 of each month"), &json!("district nowhere, kind meter"))
    );
    let command = site.get("commands?limit=1")["items"][0].clone();
    assert_eq!(command["by"], "poll noon");
    let http = site.http().expect("an address");
    let metrics = ureq_get(&format!("http://{http}/metrics"));
    assert!(
        metrics.contains(&format!("polymeter_poll_questions{{poll=\"noon\",state=\"asked\"}} {METERS}")),
        "{metrics}"
    );
}

fn ureq_get(url: &str) -> String {
    ureq::get(url).call().expect("an answer").body_mut().read_to_string().expect("text")
}

#[test]
fn a_round_goes_on_after_a_power_cut_and_asks_nobody_twice() {
    let (mut site, lines, mut terminal) = town();
    begin(&site);
    for _ in 0..3 {
        terminal.obey();
    }
    wait_until("three have answered", || (round(&site)["answered"] == 3).then_some(()));
    site.power_cut();
    terminal.peer = Peer::tcp(site.meters());
    assert_eq!(terminal.register().result, 0);
    for _ in 0..METERS - 3 {
        terminal.obey();
    }
    let over = await_over(&site);
    assert_eq!([&over["answered"], &over["failed"]], [&json!(METERS), &json!(0)], "{over}");
    // One question may have been lost with the power; it is asked again, and no other.
    let heard: u32 = lines.lock().subs.values().map(|sub| sub.heard).sum();
    assert!((METERS..=METERS + 1).contains(&heard), "{heard}");
}
