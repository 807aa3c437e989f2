//! The fleet on the command line: `fleet run` against any station, `fleet demo` with one of its own.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use fleet::api::Api;
use fleet::fleet::{Run, Watch, play};
use fleet::world::Doors;
use fleet::{demo, population, progress};
use polymeter::model::Civil;
use serde_json::json;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// A simulated fleet of gas meters that checks the station's books
#[derive(Parser)]
#[command(version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Let a fleet live for some seconds against a running station, then compare its books with the station's
    ///
    /// The station must be empty: whatever it shows that this fleet did not send counts as a difference. Its listeners speak as
    /// this fleet is set up: `qianwei_7xxx` under a profile with remote_open = "open", since the fleet is ordered to open
    /// valves, and `fengxian` under one with the same, the fleet's price and unknown_account = "zero".
    Run(Box<RunArgs>),
    /// A station, a fleet, and what they do together; `DEMO_SECONDS=20` ends by itself
    Demo,
}

#[derive(Args)]
struct RunArgs {
    /// TCP listener that speaks `usp`, and `qianwei_7xxx` with remote_open = "open"
    #[arg(long, value_name = "HOST:PORT")]
    station: SocketAddr,
    /// UDP listener that speaks both; without it they all use TCP
    #[arg(long, value_name = "HOST:PORT")]
    udp: Option<SocketAddr>,
    /// UDP listener that speaks `szrq`; without it no such meters are in the fleet
    #[arg(long, value_name = "HOST:PORT")]
    szrq: Option<SocketAddr>,
    /// TCP listener that speaks `fengxian`; without it no such meters are in the fleet
    #[arg(long, value_name = "HOST:PORT")]
    fengxian: Option<SocketAddr>,
    /// The station's API
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    api: String,
    /// An admin's token: the fleet's keys must be set
    #[arg(long, env = "POLYMETER_TOKEN", hide_env_values = true)]
    token: String,
    #[arg(long, default_value_t = 1_000)]
    devices: usize,
    /// The same seed plays the same fleet again; without it, one is drawn and printed
    #[arg(long)]
    seed: Option<u64>,
    /// Our seconds for all of the fleet's time
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Begin of the fleet's time
    #[arg(long, default_value = "2024-02-26T12:00:00")]
    from: Civil,
    /// Days of it
    #[arg(long, default_value_t = 5)]
    days: i64,
    /// Commands to order through the API
    #[arg(long, default_value_t = 200)]
    orders: usize,
    /// The station's zone, to check its clock
    #[arg(long, default_value = "Asia/Shanghai")]
    zone: String,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let done = match Line::parse().command {
        Command::Run(args) => run(*args),
        Command::Demo => demo::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: RunArgs) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(population::any_seed);
    eprintln!("seed {seed}");
    let run = Run {
        doors: Doors { tcp: args.station, udp: args.udp, szrq: args.szrq, fengxian: args.fengxian, dtu: None },
        estate: None,
        devices: args.devices,
        seed,
        real: Duration::from_secs(args.seconds),
        from: args.from,
        to: Civil(args.from.0 + args.days * 86_400),
        orders: args.orders,
        zone: args.zone,
    };
    let (api, watch, over) = (Api::new(&args.api, &args.token), Watch::default(), AtomicBool::new(false));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&watch, &over));
        let outcome = play(&run, &api, &watch);
        over.store(true, Relaxed);
        outcome
    })
    .context("the run broke off")?;
    let findings = &outcome.findings;
    if args.json {
        let differences: Vec<_> = findings
            .differences
            .iter()
            .map(|d| json!({"device": d.device, "at": d.at, "expected": d.expected, "got": d.got}))
            .collect();
        println!(
            "{}",
            json!({"seed": seed, "devices": findings.devices, "reports": findings.reports, "readings": findings.readings,
                "events": findings.events, "commands_answered": findings.commands_answered, "broken": findings.broken,
                "tricks": outcome.tricks, "differences": differences})
        );
    } else {
        print!("{}", progress::summary(&outcome));
    }
    Ok(findings.differences.is_empty())
}
