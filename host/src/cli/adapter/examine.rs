//! `polymeter adapter check|test|bench`: what an adapter is, whether it keeps its word, and what that costs.

use super::{keys, load, transport, try_profile};
use crate::adapter::Runtime;
use crate::cli::output::{Columns, Output, harmless, line, note};
use crate::clock::Clock;
use crate::kit::check::{Growth, Report, Verdict};
use crate::kit::trial::{Against, Coverage, Trial};
use crate::kit::{bench, capture, check, decode::SlotKeys, signing, trial};
use crate::lifecycle::Trust;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Args)]
pub struct CheckArgs {
    /// The adapter.
    file: PathBuf,
    /// Also say what a station with this trust file would.
    #[arg(long, value_name = "TRUST.TOML")]
    trust: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub struct TestArgs {
    /// The adapter.
    file: PathBuf,
    /// Also read these recorded frames: one a line in hex, or as `adapter record` writes them.
    #[arg(long, value_name = "FRAMES")]
    against: Option<PathBuf>,
    /// Profile for the recorded frames.
    #[arg(long, value_name = "JSON", default_value = "{}", requires = "against")]
    profile: String,
    /// A device key for the recorded frames, 16 bytes in hex, as often as needed.
    #[arg(long, value_name = "SLOT=HEX", requires = "against")]
    key: Vec<String>,
    /// The recorded frames came as datagrams: over UDP, CoAP or MQTT.
    #[arg(long, requires = "against")]
    datagram: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub struct BenchArgs {
    /// The adapter.
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub fn check(args: &CheckArgs) -> Result<()> {
    let trust = args.trust.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Trust::parse(&text).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
    });
    let (trust, clock) = (trust.transpose()?, Clock::system());
    let judged = trust.as_ref().map(|trust| (trust, clock.civil(clock.now_ms())));
    let report = check::check(&Runtime::new(None)?, &signing::read_component(&args.file)?, judged);
    if args.output.json {
        line(&serde_json::to_string(&report)?)?;
    } else {
        line(&harmless(&in_words(&report)))?;
    }
    let refused = report.findings.iter().find(|finding| finding.verdict == Verdict::Refused);
    match refused {
        None => Ok(()),
        Some(finding) => bail!("a station would refuse {}: {}", args.file.display(), finding.text),
    }
}

fn in_words(report: &Report) -> String {
    let mut lines = Vec::new();
    if let Some(m) = &report.manifest {
        lines.push(format!("{} {} by {} · realm {} · {}", m.name, m.version, m.vendor, m.realm, m.summary));
        let address = m
            .address
            .as_ref()
            .map_or_else(|| "any; `[address]` would let a station refuse others".into(), ToString::to_string);
        lines.push(format!("addresses   {address}"));
        lines.push(format!("models      {}", listed(&m.models)));
        lines.push(format!("transports  {}", listed(&m.transports)));
        lines.push(format!("messages    {}", listed(&m.kinds)));
        lines.push(format!("commands    {}", listed(&m.commands)));
    }
    lines.push(format!("file        {} bytes · sha-256 {}", report.bytes, report.digest));
    lines.push(format!("imports     {}", listed(&report.imports)));
    lines.push(format!("exports     {}", listed(&report.exports)));
    for (what, growths, unit) in [("memory", &report.memory, "bytes"), ("table", &report.tables, "elements")] {
        lines.extend(growths.iter().map(|growth| format!("{what:<11} {}", growth_in_words(growth, unit))));
    }
    lines.push(String::new());
    for finding in &report.findings {
        let mark = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Remark => "note",
            Verdict::Refused => "REFUSED",
        };
        lines.push(format!("{mark:<8} {}: {}", finding.about, finding.text));
    }
    lines.join("\n")
}

fn growth_in_words(growth: &Growth, unit: &str) -> String {
    let Growth { initial, maximum, allowed } = growth;
    match maximum {
        Some(maximum) if maximum <= allowed => format!("{initial} {unit}, may grow to {maximum}"),
        _ => format!("{initial} {unit}, may grow to {allowed}, where the station stops it"),
    }
}

fn listed<T: AsRef<str>>(words: &[T]) -> String {
    if words.is_empty() { "none".into() } else { words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ") }
}

pub fn test(args: &TestArgs) -> Result<()> {
    let keys = keys(&args.key)?;
    let bytes = signing::read_component(&args.file)?;
    let adapter = load(&args.file, &bytes, keys)?;
    let (name, version) = (adapter.name().to_owned(), adapter.version().to_owned());
    let found = trial::run(&adapter, &bytes)?;
    let against = match &args.against {
        None => None,
        Some(path) => {
            try_profile(&adapter, &args.profile)?;
            let clock = Clock::system();
            let recorded = capture::read(path)?;
            Some(trial::against(
                adapter,
                (args.profile.clone(), transport(args.datagram)),
                recorded,
                clock.civil(clock.now_ms()),
            ))
        }
    };
    let passed = found.passed() && against.as_ref().is_none_or(|against| against.broken.is_empty());
    if args.output.json {
        let trial = serde_json::to_value(&found)?;
        line(
            &json!({"name": name, "version": version, "passed": passed, "trial": trial, "against": against})
                .to_string(),
        )?;
    } else {
        line(&harmless(&trial_in_words(&format!("{name} {version}"), &found)))?;
        if let Some(against) = &against {
            line(&harmless(&against_in_words(against)))?;
        }
    }
    ensure!(
        found.vectors > 0,
        "{} carries no vectors; put some under vectors/ and build it again",
        args.file.display()
    );
    ensure!(found.differing == 0, "{} vectors differ", found.differing);
    ensure!(passed, "{name} {version} does not hold what is asked of an adapter");
    Ok(())
}

fn trial_in_words(name: &str, found: &Trial) -> String {
    let (damage, downlink) = (&found.damage, &found.downlink);
    let mut lines = Vec::new();
    list(&mut lines, "These vectors differ", &found.differences);
    list(&mut lines, "Asked twice, it answered differently", &found.impure);
    list(&mut lines, "A damaged frame broke it", &damage.broken);
    list(&mut lines, "Its own command broke it", &downlink.broken);
    list(&mut lines, "No such quantity has such a unit", &found.units);
    list(&mut lines, "note: unusual values, perhaps a slipped decimal point", &found.scales);
    list(&mut lines, "note: damaged frames that read as another meaning", &damage.misread);
    list(&mut lines, "note: its framing does not see one frame in its own command", &downlink.unframed);
    let holds = found.vectors - found.differing;
    lines.push(format!("{name} · {holds} of {} vectors agree", found.vectors));
    let short = if damage.cut_short { ", not all there are" } else { "" };
    lines.push(format!(
        "damage      {} damaged frames{short}: {} refused, {} read alike, {} read otherwise, {} broke it",
        damage.tried,
        damage.refused,
        damage.same,
        damage.other,
        damage.broken.len()
    ));
    lines.push(format!(
        "downlink    {} frames encoded: {} seen as one frame, {} decoded again",
        downlink.frames, downlink.framed, downlink.decoded
    ));
    lines.push(coverage("messages", &found.kinds));
    lines.push(coverage("commands", &found.commands));
    lines.join("\n")
}

fn coverage(what: &str, coverage: &Coverage) -> String {
    let words = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
    let claimed = coverage.proven.len() + coverage.unproven.len();
    let mut text = format!("{what:<11} {} of {claimed} claimed are shown by vectors", coverage.proven.len());
    if !coverage.unproven.is_empty() {
        text = format!("{text}; claimed but unproven: {}", words(&coverage.unproven));
    }
    if !coverage.unclaimed.is_empty() {
        text = format!("{text}; shown but not in adapter.toml: {}", words(&coverage.unclaimed));
    }
    text
}

fn against_in_words(against: &Against) -> String {
    let mut lines = Vec::new();
    list(&mut lines, "A recorded frame broke it", &against.broken);
    list(&mut lines, "note: recorded frames that it does not read", &against.examples);
    let count = |(kind, count): (&String, &usize)| format!("{count} {kind}");
    let counts = |map: &std::collections::BTreeMap<String, usize>| map.iter().map(count).collect::<Vec<_>>();
    lines.push(format!(
        "recorded    {} of {} frames read: {}",
        against.decoded,
        against.frames,
        listed(&counts(&against.messages))
    ));
    if !against.faults.is_empty() {
        lines.push(format!("            faults: {}", listed(&counts(&against.faults))));
    }
    lines.join("\n")
}

fn list(lines: &mut Vec<String>, title: &str, found: &[String]) {
    if found.is_empty() {
        return;
    }
    lines.push(format!("{title}:"));
    lines.extend(found.iter().map(|text| format!("  {}", text.replace('\n', "\n  "))));
    lines.push(String::new());
}

const COSTS: Columns<'_> = &[
    ("VECTOR", "/vector"),
    ("CALL", "/call"),
    ("BYTES", "/frame_bytes"),
    ("MEDIAN NS", "/median_ns"),
    ("P99 NS", "/p99_ns"),
    ("MESSAGES", "/messages"),
    ("VALUES", "/values"),
    ("STORED", "/stored_bytes"),
    ("MEMORY", "/memory_bytes"),
];

pub fn bench(args: &BenchArgs) -> Result<()> {
    let bytes = signing::read_component(&args.file)?;
    let adapter = load(&args.file, &bytes, SlotKeys::default())?;
    let bench::Measured { costs, failed } = bench::run(&adapter, &bytes)?;
    ensure!(!(costs.is_empty() && failed.is_empty()), "{} has no vector to measure with", args.file.display());
    let rows = costs.iter().map(|cost| serde_json::to_value(cost).context("a cost")).collect::<Vec<Result<Value>>>();
    args.output.rows(COSTS, rows.into_iter())?;
    let most = |of: fn(&bench::Cost) -> usize| costs.iter().map(of).max().unwrap_or(0);
    if !args.output.json {
        let slowest = most(|cost| cost.p99_ns as usize);
        let allowed = bench::ALLOWED;
        line(&format!(
            "\nMost of any vector, and what a station allows:\n\
             time, p99    {slowest} ns of {}\n\
             memory       {} bytes of {}\n\
             messages     {} of {}\n\
             values       {} of {}\n\
             stored       {} bytes of {}",
            allowed.time_ns,
            most(|cost| cost.memory_bytes),
            allowed.memory_bytes,
            most(|cost| cost.messages),
            allowed.messages,
            most(|cost| cost.values),
            allowed.values,
            most(|cost| cost.stored_bytes),
            allowed.stored_bytes,
        ))?;
    }
    let broken: Vec<String> = costs.iter().flat_map(bench::Cost::broken).collect();
    for text in failed.iter().chain(&broken) {
        note(text);
    }
    ensure!(failed.is_empty(), "{} vectors could not be measured; `adapter test` says more", failed.len());
    ensure!(broken.is_empty(), "a station allows less than {} needs", args.file.display());
    Ok(())
}
