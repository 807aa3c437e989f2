//! `polymeter adapter shadow|redecode`: versions against each other, in meaning.

use super::client::{Access, Client, escape};
use super::output::{Columns, cell, note};
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Subcommand)]
pub enum ReviewCommand {
    /// Let a version hear live frames beside the one that serves, or compare both over stored ones
    ///
    /// Without --share, --since or --stop it shows what the shadow has found so far.
    Shadow {
        /// NAME@VERSION or NAME@DIGEST, of a digest its first digits; a bare name for the report and with --stop
        name: String,
        /// Share of the live frames, such as 10%
        #[arg(long, value_name = "PERCENT", value_parser = permille)]
        share: Option<u32>,
        /// Also compare over the stored frames of the last 30d, 12h or 15m
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        since: Option<u64>,
        /// End it and show what it has found
        #[arg(long, conflicts_with_all = ["share", "since"])]
        stop: bool,
        #[command(flatten)]
        access: Access,
    },
    /// Read stored frames again: shows what would change, and with --apply corrects it
    ///
    /// What was told before stays, marked as superseded, with the version and the frame that it came from. A frame that turns
    /// out to be another device's takes its readings there. Only readings are corrected: events and states that would be told
    /// otherwise are counted and stay.
    Redecode {
        /// Name, NAME@VERSION, NAME@DIGEST or DIGEST, of a digest its first digits; a bare name means the version that serves
        #[arg(long, value_name = "NAME")]
        adapter: String,
        /// Frames of the last 30d, 12h or 15m
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        since: u64,
        /// Write corrections; needs a --reason
        #[arg(long, requires = "reason")]
        apply: bool,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        access: Access,
    },
}

const DIFFERENCES: Columns<'_> = &[
    ("COUNT", "/count"),
    ("KIND", "/kind"),
    ("SUBJECT", "/subject"),
    ("MODEL", "/model"),
    ("DEVICE", "/examples/0/device"),
    ("OLD", "/examples/0/old"),
    ("NEW", "/examples/0/new"),
];
/// Fifty years: no station is older, and the way back does not lead past 1970.
const TIME_S_MAX: u64 = 18_250 * 86_400;
const POLL_EVERY: Duration = Duration::from_millis(250);

pub fn run(command: ReviewCommand) -> Result<()> {
    match command {
        ReviewCommand::Shadow { name, share, since, stop, access } => {
            let client = access.remote.connect()?;
            let (name, version) = named(&name);
            let path = format!("adapters/{}/shadow", escape(name));
            if stop {
                return show(&access, &client.delete(&path)?);
            }
            let version = || version.context("name the version, as NAME@VERSION");
            if let Some(permille) = share {
                let begun = client.post(&path, &json!({"version": version()?, "permille": permille}))?;
                if since.is_none() {
                    return show(&access, &begun);
                }
            }
            match since {
                Some(since_s) => follow(&client, &access, name, &json!({"version": version()?, "since_s": since_s})),
                None => show(&access, &client.get(&path)?),
            }
        }
        ReviewCommand::Redecode { adapter, since, apply, reason, access } => {
            let client = access.remote.connect()?;
            let (name, version) = named(&adapter);
            let body = json!({
                "version": version, "since_s": since, "stored": true, "apply": apply, "reason": reason,
            });
            follow(&client, &access, name, &body)
        }
    }
}

fn named(text: &str) -> (&str, Option<&str>) {
    text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)))
}

/// Starts it and waits for its end.
fn follow(client: &Client, access: &Access, name: &str, body: &Value) -> Result<()> {
    let mut report = client.post(&format!("adapters/{}/replay", escape(name)), body)?;
    // It may have been named by a digest.
    let path = format!("adapters/{}/replay", escape(report["name"].as_str().unwrap_or(name)));
    while report["finished"] != true {
        std::thread::sleep(POLL_EVERY);
        report = client.get(&path)?;
    }
    show(access, &report)?;
    match report["failed"].as_str() {
        Some(why) => bail!("it ended early: {why}"),
        None => Ok(()),
    }
}

fn show(access: &Access, report: &Value) -> Result<()> {
    if access.output.json {
        return access.output.object(&[], report);
    }
    let number = |key: &str| cell(&report[key]);
    note(&format!(
        "{} {}: {} frames compared, {} differ, {} left out, {} corrected",
        number("name"),
        number("version"),
        number("frames"),
        number("differing"),
        report["dropped"].as_u64().unwrap_or(0) + report["unrepeatable"].as_u64().unwrap_or(0),
        number("corrected")
    ));
    let some = |key: &str| report[key].as_u64().filter(|count| *count > 0);
    if let Some(count) = some("uncorrectable") {
        note(&format!(
            "{count} differ and cannot be corrected: unreadable for this version, carrying others' frames, telling of \
             somebody whom nobody can name, or of a device that nobody has let in"
        ));
    }
    if let Some(count) = some("events_differ") {
        note(&format!(
            "{count} tell events, states or their sender otherwise; of that nothing is changed, only readings are corrected"
        ));
    }
    let rows = report["differences"].as_array().cloned().unwrap_or_default();
    access.output.rows(DIFFERENCES, rows.into_iter().map(Ok))
}

/// `10%`, also with one decimal.
fn permille(text: &str) -> Result<u32> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    let (whole, tenth) = digits.split_once('.').unwrap_or((digits, "0"));
    let whole: u32 = whole.parse().context("write a share as 10%")?;
    let tenth = Some(tenth).filter(|tenth| tenth.len() == 1).and_then(|tenth| tenth.parse::<u32>().ok());
    let tenth = tenth.context("a share has one decimal at most, as 0.5%")?;
    let share = whole.checked_mul(10).map(|share| share + tenth).filter(|share| (1..=1_000).contains(share));
    share.context("a share is more than 0 and at most 100%")
}

/// `30d`, `12h`, `15m` or `90s`.
fn seconds(text: &str) -> Result<u64> {
    let unit = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let found = unit.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (digits, seconds) = found.context("write a time as 30d, 12h, 15m or 90s")?;
    let number: u64 = digits.parse().context("write a time as 30d, 12h, 15m or 90s")?;
    ensure!(number > 0, "a time is more than nothing");
    let found = number.checked_mul(seconds).filter(|seconds| *seconds <= TIME_S_MAX);
    found.with_context(|| format!("so long nothing is kept; give at most {}d", TIME_S_MAX / 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times_are_read() {
        for (text, expected) in [("10%", 100), ("10", 100), ("0.5%", 5), ("100%", 1_000)] {
            assert_eq!(permille(text).ok(), Some(expected), "{text}");
        }
        for text in ["0%", "101%", "x", "1.25%", "0.05%", "0.01%", "1.00%", "1.%", "1.+5%", ""] {
            assert!(permille(text).is_err(), "{text}");
        }
        for (text, expected) in
            [("30d", 2_592_000), ("12h", 43_200), ("15m", 900), ("90s", 90), ("18250d", 1_576_800_000)]
        {
            assert_eq!(seconds(text).ok(), Some(expected), "{text}");
        }
        for text in ["", "d", "30", "0d", "-1d", "99999d", "99999999999999999999d", "9999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
