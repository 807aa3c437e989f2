//! `polymeter command`: asking devices to do something, and following what becomes of it.

use super::client::{Access, Client, Unheard};
use super::meter::READINGS;
use super::order::{self, Order};
use super::output::{Columns, Limit, Output, line, note};
use crate::journal::Settlement;
use crate::model::Command;
use crate::views::CommandState;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const POLL_EVERY: Duration = Duration::from_millis(250);

#[derive(Subcommand, Debug)]
pub enum CommandCommand {
    /// Ask a device to do something
    ///
    /// In words, or as JSON in the contract's form:
    ///   polymeter command send usp/50001234567810 valve close-forced --reason balance-exhausted
    ///   polymeter command send usp/50001234567810 read-history day 2024-03-01 2024-03-10 --wait 60
    ///   polymeter command send usp/50001234567810 '{"read":{"scope":"current"}}' --wait 60
    #[command(verbatim_doc_comment)]
    Send(Send),
    /// Commands, newest first
    List {
        /// Only of this device
        #[arg(long)]
        device: Option<String>,
        /// Only those that are not finished
        #[arg(long)]
        open: bool,
        /// Only in this state, such as unconfirmed
        #[arg(long)]
        state: Option<CommandState>,
        #[command(flatten)]
        limit: Limit,
    },
    /// One command with every step of its life
    Show { id: u64 },
    /// Take back a command that waits; an order that was sent before, unanswered, is not repeated, and is unconfirmed
    Cancel { id: u64 },
    /// Say what became of an unconfirmed command, when nobody but people can tell
    Settle {
        id: u64,
        /// done or not-done
        outcome: Settlement,
        /// How you know; kept with the command
        #[arg(long)]
        note: String,
    },
}

#[derive(Args, Debug)]
#[command(subcommand_precedence_over_arg = true, override_usage = "polymeter command send [OPTIONS] <DEVICE> <ORDER>")]
pub struct Send {
    /// realm/address, such as usp/50001234567810
    device: String,
    /// Any command of the contract: `'{"archive-list":{"first":1,"count":10}}'`
    #[arg(value_name = "JSON")]
    literal: Option<String>,
    #[command(subcommand)]
    order: Option<Order>,
    /// How long it may wait for the device; the default depends on the command
    #[arg(long, global = true, value_name = "SECONDS")]
    expires_s: Option<u64>,
    /// Kept with the command, for those who ask later
    #[arg(long, global = true, default_value = "")]
    note: String,
    /// Follow it to its end, at most so long; exit code 1 unless it was done
    #[arg(long, global = true, value_name = "SECONDS")]
    wait: Option<u64>,
}

const COMMANDS: Columns<'_> = &[
    ("ID", "/id"),
    ("DEVICE", "/device"),
    ("COMMAND", "/asked"),
    ("STATE", "/state"),
    ("OUTCOME", "/outcome"),
    ("BY", "/by"),
    ("REQUESTED", "/requested"),
    ("EXPIRES", "/expires"),
    ("WHY", "/why"),
];
const COMMAND: Columns<'_> = &[
    ("id", "/id"),
    ("device", "/device"),
    ("command", "/command"),
    ("state", "/state"),
    ("outcome", "/outcome"),
    ("why", "/why"),
    ("settled as", "/settled/outcome"),
    ("settled by", "/settled/by"),
    ("known how", "/settled/note"),
    ("result", "/result"),
    ("by", "/by"),
    ("note", "/note"),
    ("requested", "/requested"),
    ("expires", "/expires"),
];
const STEPS: Columns<'_> = &[("SEQ", "/seq"), ("AT", "/at"), ("STEP", "/step"), ("DETAIL", "/detail")];

pub fn run(access: &Access, command: CommandCommand) -> Result<()> {
    let client = access.remote.connect()?;
    let output = access.output;
    match command {
        CommandCommand::Send(send) => run_send(&client, output, &send),
        CommandCommand::List { device, open, state, limit } => {
            let mut query = Vec::new();
            query.extend(device.map(|device| ("device", device)));
            query.extend(open.then(|| ("open", "true".to_owned())));
            query.extend(state.map(|state| ("state", state.name().to_owned())));
            output.listing_of(COMMANDS, client.rows("commands", &query, limit.rows_max()), in_words)
        }
        CommandCommand::Show { id } => show(output, &client.get(&format!("commands/{id}"))?),
        CommandCommand::Cancel { id } => {
            let answer = client.post(&format!("commands/{id}/cancel"), &json!({}))?;
            // One that has left before is unconfirmed now, and not cancelled.
            let state = client.get(&format!("commands/{id}"))?["state"].as_str().unwrap_or("cancelled").to_owned();
            output.done(&format!("command {id} is {state}: it is not sent any more"), &answer)
        }
        CommandCommand::Settle { id, outcome, note } => {
            let body = json!({"outcome": outcome, "note": note});
            let answer = client.post(&format!("commands/{id}/settlement"), &body)?;
            output.done(&format!("command {id} is settled as {outcome}"), &answer)
        }
    }
}

fn run_send(client: &Client, output: Output, send: &Send) -> Result<()> {
    let command = send.command()?;
    let body = json!({
        "device": send.device,
        "command": command,
        "expires_s": send.expires_s,
        "note": send.note,
    });
    let answer = client.post("commands", &body).map_err(|error| {
        if !error.is::<Unheard>() {
            return error;
        }
        error.context(format!(
            "it is not known whether the order was accepted; before you send it again, look at `polymeter command list --device {}`",
            send.device
        ))
    })?;
    let id = answer.get("id").and_then(Value::as_u64).unwrap_or_default();
    match send.wait {
        None => output.done(&format!("command {id} waits for {}", send.device), &answer),
        Some(seconds) => {
            // Said at once: whoever stops waiting, or loses the station, must not order it a second time.
            note(&format!("command {id} is accepted"));
            follow(client, output, id, Duration::from_secs(seconds))
        }
    }
}

/// Adds to a row which order it is: one that opens a valve must not look like one that closes it.
fn in_words(mut row: Value) -> Value {
    const DETAILS: [&str; 3] = ["/command/valve/order", "/command/read/scope", "/command/read-history/interval"];
    let word = |pointer: &str| row.pointer(pointer).and_then(Value::as_str);
    let words: Vec<_> = ["/name"].into_iter().chain(DETAILS).filter_map(word).collect();
    row["asked"] = words.join(" ").into();
    row
}

impl Send {
    fn command(&self) -> Result<Command> {
        match (&self.order, &self.literal) {
            (Some(order), None) => order.clone().into_command(),
            (None, Some(text)) => order::from_json(text),
            (None, None) => bail!("say what to ask for; see `polymeter command send --help`"),
            (Some(_), Some(text)) => bail!("`{text}` and words too: one command at a time"),
        }
    }
}

/// Tells each new step, and ends with the command or the caller's patience.
fn follow(client: &Client, output: Output, id: u64, patience: Duration) -> Result<()> {
    let start = Instant::now();
    let mut told = 0;
    loop {
        let command = client.get(&format!("commands/{id}")).with_context(|| {
            format!("command {id} was accepted, and what becomes of it is not known; ask `polymeter command show {id}`")
        })?;
        let steps = command.get("steps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for step in steps.iter().skip(told).filter(|_| !output.json) {
            let word = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
            note(&format!("{}  {}  {}", word("at"), word("step"), word("detail")));
        }
        told = told.max(steps.len());
        let finished = command.get("finished").and_then(Value::as_bool).unwrap_or_default();
        if finished || start.elapsed() >= patience {
            show(output, &command)?;
            return verdict(id, &command, finished);
        }
        std::thread::sleep(POLL_EVERY);
    }
}

fn verdict(id: u64, command: &Value, finished: bool) -> Result<()> {
    let word = |key: &str| command.get(key).and_then(Value::as_str).unwrap_or_default();
    match word("state") {
        "done" | "confirmed" => Ok(()),
        "queued" if word("why").is_empty() => {
            bail!("command {id} still waits for the device; it goes out when the device next connects")
        }
        "queued" => bail!("command {id} still waits: {}", word("why")),
        state if !finished => bail!("command {id} is {state}; follow it with `polymeter command show {id}`"),
        state => bail!("command {id}: {state} {}", word("why")),
    }
}

fn show(output: Output, command: &Value) -> Result<()> {
    if output.json {
        return output.object(COMMAND, command);
    }
    let mut rest = command.clone();
    // What was read is a table of its own, and not one long line.
    let values = rest.pointer_mut("/result/report").map_or_else(Vec::new, take_values);
    output.object(COMMAND, &rest)?;
    line("")?;
    if !values.is_empty() {
        output.rows(READINGS, values.into_iter().map(Ok))?;
        line("")?;
    }
    let steps = command.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
    output.whole_rows(STEPS, steps.into_iter().map(Ok))
}

/// Registers and samples of a report as rows; the report keeps the rest.
fn take_values(report: &mut Value) -> Vec<Value> {
    let Some(report) = report.as_object_mut() else { return Vec::new() };
    let list = |value: Option<Value>| match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let mut rows = list(report.remove("registers"));
    for mut series in list(report.remove("series")) {
        let samples = list(series.get_mut("samples").map(Value::take));
        for sample in samples {
            let mut row = series.clone();
            if let (Some(row), Value::Object(sample)) = (row.as_object_mut(), sample) {
                row.extend(sample);
            }
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Output;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        send: Send,
    }

    #[test]
    fn flags_stand_anywhere_around_words_and_json() {
        let json = r#"{"read":{"scope":"current"}}"#;
        for words in [
            &["usp/1", json, "--wait", "5", "--json"][..],
            &["usp/1", "--wait", "5", json, "--json"],
            &["--json", "--wait", "5", "usp/1", json],
            &["usp/1", "read", "--wait", "5", "--json"],
            &["usp/1", "--json", "read", "current", "--wait", "5"],
        ] {
            let line =
                Line::try_parse_from(std::iter::once(&"x").chain(words)).unwrap_or_else(|e| panic!("{words:?}: {e}"));
            assert_eq!(
                (line.send.wait, line.output.json, &line.send.device[..]),
                (Some(5), true, "usp/1"),
                "{words:?}"
            );
            let command = line.send.command().expect("a command");
            assert_eq!(serde_json::to_string(&command).expect("JSON"), json, "{words:?}");
        }
    }

    #[test]
    fn what_was_read_becomes_rows() {
        let mut report = json!({
            "cause": "on-demand",
            "registers": [{"quantity": "working-volume", "value": "1.5", "unit": "cubic-metre"}],
            "series": [{"quantity": "flow", "unit": "x", "samples": [{"at": "a", "value": "1"}, {"at": "b", "value": "2"}]}],
        });
        let rows = take_values(&mut report);
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let told: Vec<_> = rows.iter().map(|r| (word(r, "quantity"), word(r, "at"), word(r, "value"))).collect();
        let expected = [("working-volume", "", "1.5"), ("flow", "a", "1"), ("flow", "b", "2")];
        assert_eq!(told, expected.map(|(q, a, v)| (q.into(), a.into(), v.into())));
        assert_eq!(report, json!({"cause": "on-demand"}));
    }

    #[test]
    fn a_listing_tells_orders_apart() {
        for (command, expected) in [
            (r#"{"valve":{"order":"permit-open"}}"#, "valve permit-open"),
            (r#"{"valve":{"order":"close-forced","reason":"gas-leak"}}"#, "valve close-forced"),
            (r#"{"read":{"scope":"account"}}"#, "read account"),
            (r#"{"set-clock":{"to":null}}"#, "set-clock"),
        ] {
            let command: Value = serde_json::from_str(command).expect("JSON");
            let name = command.as_object().and_then(|c| c.keys().next()).expect("a name").clone();
            assert_eq!(in_words(json!({"name": name, "command": command}))["asked"], expected);
        }
    }

    #[test]
    fn what_is_no_command_says_so() {
        for (words, says) in [
            (&["usp/1", "fly"][..], "no command"),
            (&["usp/1", "{}"], "one of read, read-history"),
            (&["usp/1", r#"{"read":{}}"#], r#"write {"read": {"scope": "current"}}"#),
            (&["usp/1", "{"], "no command"),
            (&["usp/1", r#"{"valve":{"order":"close-forced","order":"permit-open"}}"#], "`order` stands there twice"),
            (&["usp/1"], "--help"),
            (&["usp/1", "{}", "read"], "one command"),
        ] {
            let line =
                Line::try_parse_from(std::iter::once(&"x").chain(words)).unwrap_or_else(|e| panic!("{words:?}: {e}"));
            let error = line.send.command().expect_err("no command");
            assert!(format!("{error:#}").contains(says), "{words:?}: {error:#}");
        }
    }
}
