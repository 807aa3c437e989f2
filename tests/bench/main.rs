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

/// The station's own, so that the null station has it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["null", data] => null::run(&PathBuf::from(data)),
        ["load", rest @ ..] => load::run(rest),
        ["idle", rest @ ..] => idle::hold(rest),
        [] | ["all"] => all(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
        parts => all(parts),
    }
}

fn all(parts: &[&str]) -> anyhow::Result<()> {
    let mut table = table::Table::new();
    for part in parts {
        match *part {
            "a" => load::short_sessions(&mut table)?,
            "b" => load::open_connections(&mut table)?,
            "c" => decode::compare(&mut table)?,
            "d" => idle::memory(&mut table)?,
            "e" => reopen::after_a_kill(&mut table)?,
            "f" => swap::under_load(&mut table)?,
            "g" => hostile::beside_others(&mut table)?,
            "i" => behind::read_all(&mut table)?,
            "h" => opening::with_many_adapters(&mut table)?,
            other => anyhow::bail!("no benchmark `{other}`; there are a to i"),
        }
    }
    table.finish()
}
