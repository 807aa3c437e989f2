//! Benchmarks in one run: the station against the *null station*, which reads a length, appends a row to redb and
//! acknowledges, and does nothing else. What the station adds to that is the price of everything it is for.
//!
//! `make bench` runs all of it in at most five minutes, prints a table and writes `target/bench.json`. Client and station share the
//! machine, as separate processes. Ratios of one run are what counts: absolute figures are the machine's.

mod behind;
mod decode;
mod hostile;
mod idle;
mod load;
mod null;
mod opening;
mod process;
mod reopen;
mod swap;
mod table;
mod telegrams;

use std::path::PathBuf;
use std::process::ExitCode;

/// The station's own, so that the null station has it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A benchmark by the letter that chooses it, and what it measures.
type Part = (&'static str, &'static str, fn(&mut table::Table) -> anyhow::Result<()>);

const PARTS: [Part; 9] = [
    ("a", "short sessions, against the null station", load::short_sessions),
    ("b", "frames on 1,000 open connections, against the null station", load::open_connections),
    ("c", "decoding alone, native and through wasm", decode::compare),
    ("d", "memory of 10,000 sleeping sessions", idle::memory),
    ("e", "opening again after kill -9, with a journal of 1 GB", reopen::after_a_kill),
    ("f", "an adapter swapped under load", swap::under_load),
    ("g", "what hostile adapters cost the others", hostile::beside_others),
    ("h", "opening with many adapters installed", opening::with_many_adapters),
    ("i", "a concentrator with 2,000 meters behind it, all read once", behind::read_all),
];

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["null", data] => null::run(&PathBuf::from(data))?,
        ["load", rest @ ..] => load::run(rest)?,
        ["idle", rest @ ..] => idle::hold(rest)?,
        ["-h" | "--help" | "help"] => println!("{}", usage()),
        [] | ["all"] => run(&PARTS)?,
        letters => match letters.iter().map(|letter| part(letter)).collect::<Result<Vec<_>, _>>() {
            Ok(parts) => run(&parts)?,
            Err(why) => {
                eprintln!("bench: {why}\n\n{}", usage());
                return Ok(ExitCode::from(2));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn part(letter: &str) -> Result<Part, String> {
    PARTS.into_iter().find(|part| part.0 == letter).ok_or_else(|| format!("no benchmark `{letter}`"))
}

fn usage() -> String {
    let lines: Vec<String> = PARTS.iter().map(|(letter, what, _)| format!("  {letter}  {what}")).collect();
    format!("Usage: bench [PART]...   without one, or with `all`: all of them\n\n{}", lines.join("\n"))
}

fn run(parts: &[Part]) -> anyhow::Result<()> {
    let mut table = table::Table::new();
    for (_, _, measure) in parts {
        measure(&mut table)?;
    }
    table.finish()
}
