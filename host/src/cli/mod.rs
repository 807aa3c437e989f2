//! The command line: one group of subcommands a file. Here only the root: which groups there are, and how errors are shown.

mod adapter;
mod adapters;
mod client;
mod command;
mod fleet;
mod journal;
mod key;
mod key_import;
mod meter;
mod offline;
mod order;
mod output;
mod poll;
mod profile;
mod quarantine;
mod registry;
mod registry_import;
mod registry_survey;
mod reviews;
mod serve;
mod status;
mod token;
mod views;

use clap::{Args, Parser, Subcommand};
use client::Access;
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
    /// Run the station
    Serve(serve::Serve),
    /// How the station and its fleet are
    ///
    /// Exit code 1 while the station is failing, as its /health says.
    Status(Access),
    /// Devices and what they said
    Meter(Remote<meter::MeterCommand>),
    /// What the utility says of its devices: import, export, single records
    Registry(Remote<registry::RegistryCommand>),
    /// What concentrators think of the fleet, against the registry
    Fleet(Remote<fleet::FleetCommand>),
    /// What the station asks by itself, and what came of it
    Poll(Remote<poll::PollCommand>),
    /// Ask devices to do something, and follow what becomes of it
    Command(Remote<command::CommandCommand>),
    /// Build, test and try adapters; install them in a station
    #[command(subcommand)]
    Adapter(AdapterGroup),
    /// How devices are spoken to: options of adapters, in versions, and whom they are for
    Profile(Remote<profile::ProfileCommand>),
    /// Frames that nobody could read yet
    Quarantine(Remote<quarantine::QuarantineCommand>),
    /// Prove that nothing was lost or changed; watch what is written
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// What the station shows, folded anew from the journal
    #[command(subcommand)]
    Views(views::ViewsCommand),
    /// Secrets shared with devices
    Key(Remote<key::KeyCommand>),
    /// Who may use the API
    Token(Remote<token::TokenCommand>),
}

/// A group whose commands speak to a running station.
#[derive(Args)]
struct Remote<C: Subcommand> {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: C,
}

#[derive(Subcommand)]
enum AdapterGroup {
    #[command(flatten)]
    Author(adapter::Command),
    #[command(flatten)]
    Station(adapters::StationCommand),
    #[command(flatten)]
    Review(reviews::ReviewCommand),
}

/// Runs the program with the process's arguments. An error is one line a cause, on standard error.
pub fn run() -> ExitCode {
    let result = match Cli::parse().group {
        Group::Serve(args) => serve::run(&args),
        Group::Status(access) => status::run(&access),
        Group::Meter(group) => meter::run(&group.access, group.command),
        Group::Registry(group) => registry::run(&group.access, group.command),
        Group::Fleet(group) => fleet::run(&group.access, group.command),
        Group::Poll(group) => poll::run(&group.access, group.command),
        Group::Command(group) => command::run(&group.access, group.command),
        Group::Adapter(AdapterGroup::Author(command)) => adapter::run(command),
        Group::Adapter(AdapterGroup::Station(command)) => adapters::run(command),
        Group::Adapter(AdapterGroup::Review(command)) => reviews::run(command),
        Group::Profile(group) => profile::run(&group.access, group.command),
        Group::Quarantine(group) => quarantine::run(&group.access, &group.command),
        Group::Journal(command) => journal::run(command),
        Group::Views(command) => views::run(command),
        Group::Key(group) => key::run(&group.access, group.command),
        Group::Token(group) => token::run(&group.access, group.command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("polymeter: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `| head` closing our output is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_offers_what_is_used() {
        let help = |words: &[&str]| {
            let asked = Cli::try_parse_from([&["polymeter"], words, &["--help"]].concat());
            asked.err().map(|help| help.to_string()).unwrap_or_default()
        };
        let (verify, tail) = (help(&["journal", "verify"]), help(&["journal", "tail"]));
        assert!(verify.contains("--json") && !verify.contains("--url") && !verify.contains("--token"), "{verify}");
        assert!(tail.contains("--json") && tail.contains("--url") && tail.contains("--token"), "{tail}");
    }
}
