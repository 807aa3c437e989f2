//! The utility's side of the estate: two rounds of every poll, and valves that are closed through a concentrator in between.

use super::Estate;
use crate::api::Api;
use crate::orders::Order;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is asked of whom. Rounds are held when somebody wants one.
const ASKED: [(&str, &str, &str); 4] = [
    ("residential", "cjt188", "read = \"current\""),
    ("m-bus", "en13757", "read = \"current\""),
    ("shenzhen", "szrq", "history = \"month\"\ncount = 2"),
    ("correctors", "modbus_corrector", "read = \"current\""),
];
const ROUND_PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the utility has got out of it.
#[derive(Debug, Default)]
pub struct Achieved {
    pub orders: Vec<Order>,
    /// Questions of the rounds.
    pub asked: u64,
    pub answered: u64,
    pub objections: Vec<String>,
    /// In words, for people.
    pub story: Vec<String>,
}

/// The `[[polls]]` of a configuration, due at a time of day that is as far away as can be.
pub fn polls(at: &str) -> String {
    ASKED
        .iter()
        .map(|(name, adapter, what)| {
            format!(
                "[[polls]]\nname = \"{name}\"\nadapter = \"{adapter}\"\n{what}\nat = \"{at}\"\ndeadline_minutes = 60\nattempts = 2\n\n"
            )
        })
        .collect()
}

/// Has everybody asked once more, whatever comes of it.
pub fn ask_again(api: &Api) -> Result<()> {
    ASKED.iter().try_for_each(|(poll, ..)| api.post(&format!("polls/{poll}/rounds"), &json!({})).map(drop))
}

/// Rounds and orders, spread over that time.
pub fn work(estate: &Estate, api: &Api, over: Duration, stop: &AtomicBool) -> Result<Achieved> {
    let mut achieved = Achieved::default();
    wait(over.mul_f64(0.25), stop);
    round(estate, api, &mut achieved)?;
    wait(over.mul_f64(0.15), stop);
    for (device, through) in &estate.orders {
        close(api, device, through, &mut achieved)?;
    }
    wait(over.mul_f64(0.25), stop);
    // What an order has brought about shows when the meter is read again.
    round(estate, api, &mut achieved)?;
    api.catch_up(ROUND_PATIENCE)?;
    for order in &achieved.orders {
        let row = api.get(&format!("commands/{}", order.id))?;
        let through = row["steps"][1]["detail"].as_str().unwrap_or_default();
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let device = api.get(&format!("devices/{}", order.device))?;
        let shown = device.pointer("/valve/state").and_then(Value::as_str).unwrap_or("nothing").to_owned();
        let (state, why) = (word("state"), word("why"));
        if state != "done" || !shown.starts_with("closed") {
            achieved.objections.push(format!("{}: {} is {state} ({why}), valve {shown}", order.device, order.name));
        }
        achieved.story.push(format!("{} {}, {state}: its valve shows {shown}", order.device, through));
    }
    Ok(achieved)
}

/// One round of every poll.
fn round(estate: &Estate, api: &Api, achieved: &mut Achieved) -> Result<()> {
    let held = |poll: &str| api.rows(&format!("polls/{poll}/rounds"));
    let mut wanted = Vec::new();
    for (poll, ..) in ASKED {
        wanted.push((poll, held(poll)?.len()));
        api.post(&format!("polls/{poll}/rounds"), &json!({})).with_context(|| format!("poll {poll}"))?;
    }
    let (begun, mut silent) = (Instant::now(), 0);
    for (poll, before) in wanted {
        let over = loop {
            let rows = held(poll)?;
            let newest =
                rows.first().filter(|row| rows.len() > before && row["state"] == "over" && row["waiting"] == 0);
            if let Some(row) = newest {
                break row.clone();
            }
            ensure!(begun.elapsed() < ROUND_PATIENCE, "the round of poll {poll} does not end: {rows:?}");
            sleep(LOOK_EVERY);
        };
        let count = |key: &str| over[key].as_u64().unwrap_or_default();
        achieved.asked += count("asked");
        achieved.answered += count("answered");
        silent += count("failed");
    }
    if silent != estate.silent as u64 {
        let silence = format!("{silent} questions failed, but {} meters are silent", estate.silent);
        achieved.objections.push(silence);
    }
    Ok(())
}

fn close(api: &Api, device: &str, through: &str, achieved: &mut Achieved) -> Result<()> {
    let command = json!({"valve": {"order": "close-forced", "reason": ""}});
    let note = format!("closed through {through} by the simulated utility");
    let answer = api.post("commands", &json!({"device": device, "command": command, "note": note}))?;
    let id = answer["id"].as_u64().context("an order without a number")?;
    achieved.orders.push(Order {
        id,
        device: device.to_owned(),
        name: "valve close-forced",
        possible: true,
        is_valve: true,
        numbered: false,
        may_be_locked: false,
        promised: Vec::new(),
    });
    Ok(())
}

fn wait(time: Duration, stop: &AtomicBool) {
    let until = Instant::now() + time;
    while Instant::now() < until && !stop.load(Relaxed) {
        sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
    }
}
