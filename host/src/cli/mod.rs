//! The command line: one group of subcommands a file. Here only the root: which groups there are, and how errors are shown.

mod adapter;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// One station, every meter: vendor adapters in WebAssembly, one journal, one message model.
#[derive(Parser)]
#[command(name = "polymeter", version)]
struct Cli {
    #[command(subcommand)]
    group: Group,
}

#[derive(Subcommand)]
enum Group {
    /// Build, test and try adapters.
    #[command(subcommand)]
    Adapter(adapter::Command),
}

/// Runs the program with the process's arguments. An error is one line a cause, on standard error.
pub fn run() -> ExitCode {
    let result = match Cli::parse().group {
        Group::Adapter(command) => adapter::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("polymeter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `| head` closing our output is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
