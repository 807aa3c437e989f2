//! Polls: the station asks by itself, on a schedule or when somebody wants it, and asks nobody twice in one round.

use fleet::station::{Settings, Station, bundled_adapters};
use polymeter::journal::{CommandFact, CommandStep, Entry, Fact, Journal, PollFact, PollStep, Round};
use polymeter::model::{Civil, Command, ReadScope};
use polymeter_tests::behind::{Lines, Meter};
use polymeter_tests::peer::Peer;
use polymeter_tests::scratch::Scratch;
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

[[polls]]
name = "all"
read = "current"
at = "TIME"
deadline_minutes = 60
retry_after_s = 3600
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

const DAY_S: i64 = 86_400;
/// Due each midnight; it selects nobody.
const DAILY: &str = r#"
[[polls]]
name = "daily"
read = "current"
district = "nowhere"
every_minutes = 1440
"#;

/// Midnight in Shanghai, so many days from today.
fn midnight(days: i64) -> Civil {
    let civil_s = jiff::Timestamp::now().as_second() + 8 * 3_600;
    Civil(civil_s - civil_s.rem_euclid(DAY_S) + days * DAY_S)
}

/// What the poll `daily` has told, so many days from today.
fn told(days: i64, step: PollStep) -> (i64, Fact) {
    (days, Fact::Poll(PollFact { round: Round { poll: "daily".into(), due: midnight(days) }, step }))
}

fn held(days: i64) -> [(i64, Fact); 2] {
    [told(days, PollStep::Begun { by: String::new() }), told(days, PollStep::Asked)]
}

/// A station that starts with these entries of so many days from today.
fn started_after(scratch: &Scratch, facts: Vec<(i64, Fact)>) -> Station {
    let settings = Settings { more: DAILY.into(), ..Settings::usual() };
    let adapters = bundled_adapters().expect("bundled adapters");
    let mut station = Station::prepare(&scratch.path("site"), &settings, &adapters).expect("a prepared station");
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let journal = Journal::open_existing(&station.data(), now_ms).expect("it opens").expect("a journal");
    for (days, fact) in facts {
        journal.append_blocking(Entry { at_ms: now_ms + days * DAY_S * 1_000, fact }).expect("it is kept");
    }
    journal.close();
    drop(journal);
    station.start().expect("a started station");
    station
}

fn rounds(station: &Station) -> Vec<Value> {
    station.api().expect("it runs").rows("polls/daily/rounds").expect("rounds")
}

#[test]
fn a_start_with_a_clock_that_was_lost_begins_no_round_until_somebody_wants_one() {
    let scratch = Scratch::new();
    let station = started_after(&scratch, [held(3_650), held(3_651)].concat());
    let health = ureq::get(format!("http://{}/health", station.http().expect("an address")));
    let mut health = health.config().http_status_as_error(false).build().call().expect("an answer");
    let health = health.body_mut().read_to_string().expect("text");
    assert!(health.contains("a poll that knows of later rounds begins none"), "{health}");
    station.api().expect("it runs").post("polls/daily/rounds", &json!({})).expect("a round");
    let by = wait_until("it is begun", || {
        let by: Vec<Value> = rounds(&station).iter().map(|round| round["by"].clone()).collect();
        by.contains(&json!("fleet")).then_some(by)
    });
    assert_eq!(by, [json!("fleet"), Value::Null, Value::Null], "its schedule has begun none");
}

#[test]
fn a_round_whose_time_is_over_costs_no_other_its_own() {
    // Nobody has answered a question of yesterday's round, which has just as much time as there is from one to the next.
    let expires_ms = jiff::Timestamp::now().as_millisecond() + 3_000;
    let question = CommandStep::Requested {
        command: Command::Read { scope: ReadScope::Current },
        by: "poll daily".into(),
        note: String::new(),
        expires_ms,
        round: Some(Round { poll: "daily".into(), due: midnight(-1) }),
    };
    let question = CommandFact { id: 1, device: "usp/50009900000007".parse().expect("a key"), step: question };
    let mut facts = held(-1).to_vec();
    facts.insert(1, (-1, Fact::Command(question)));
    let scratch = Scratch::new();
    let station = started_after(&scratch, facts);
    let today = json!(midnight(0).to_string());
    let is_told = |round: &Value| round["due"] == today && round["state"] != "running";
    let told = wait_until("today's is told", || rounds(&station).into_iter().find(is_told));
    assert_eq!((&told["state"], &told["why"]), (&json!("over"), &Value::Null), "{told}");
}

#[test]
fn a_round_of_a_clock_that_was_lost_keeps_no_other_from_being_held() {
    for is_held in [false, true] {
        let round = Round { poll: "daily".into(), due: midnight(-3_650) };
        let question = CommandStep::Requested {
            command: Command::Read { scope: ReadScope::Current },
            by: "poll daily".into(),
            note: String::new(),
            expires_ms: jiff::Timestamp::now().as_millisecond() + DAY_S * 1_000,
            round: Some(round),
        };
        let question = CommandFact { id: 1, device: "usp/50009900000007".parse().expect("a key"), step: question };
        let mut facts = held(-1).to_vec();
        if is_held {
            facts.extend(held(0));
        }
        facts.push(told(-3_650, PollStep::Begun { by: String::new() }));
        facts.push((-3_650, Fact::Command(question)));
        let scratch = Scratch::new();
        let station = started_after(&scratch, facts);
        let today = midnight(0).to_string();
        let over = wait_until("the lost round is given up, and today's is held", || {
            let log = std::fs::read_to_string(station.log_file()).expect("a log");
            let is_over = |round: &Value| round["due"] == json!(today) && round["state"] == "over";
            rounds(&station)
                .into_iter()
                .find(is_over)
                .filter(|_| log.contains("it had begun by a clock that was wrong"))
        });
        assert_eq!(over["why"], Value::Null, "{over}");
        assert_eq!(rounds(&station).len(), 3);
    }
}

/// It is asked again in an hour, and those behind it need not wait for that.
#[test]
fn a_concentrator_that_did_not_answer_itself_carries_for_those_behind_it() {
    const RELAY: u16 = 0x4064;
    let (site, _, mut terminal) = town();
    site.client().post("polls/all/rounds", &json!({})).expect("a round");
    let (mut relayed, mut was_silent) = (0, false);
    while relayed < METERS {
        let (message, _, frames) = terminal.take_command();
        if message == RELAY {
            frames.iter().for_each(|frame| terminal.peer.send(frame));
            relayed += 1;
        } else {
            assert!(!was_silent, "it rests");
            was_silent = true;
            drop(terminal.reconnect(site.meters()));
            assert_eq!(terminal.register().result, 0);
        }
    }
    assert!(was_silent);
    wait_until("all others have answered", || {
        let rounds = site.rows("polls/all/rounds");
        (rounds[0]["answered"] == METERS).then_some(())
    });
}
