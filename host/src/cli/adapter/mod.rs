//! `polymeter adapter …`: the author's kit on the command line. What needs a running station comes through its HTTP API.

mod dev;
mod examine;
mod sign;
mod traffic;

use crate::adapter::{Adapter, Runtime, Transport};
use crate::cli::output::{line, note};
use crate::clock::Clock;
use crate::kit::{build, decode, scaffold, show, signing};
use crate::model::{Civil, check_distinct};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Subcommand)]
pub enum Command {
    /// Write a new adapter: a complete crate with vectors, a simulated device and a CI recipe.
    New(NewArgs),
    /// Build an adapter crate into one self-contained `.wasm` file.
    Build(BuildArgs),
    /// Decode telegrams: hexadecimal digits on standard input, one telegram a line.
    ///
    /// Prints one result a line: {"messages": [...], "sender": {...}, "reply": "hex"} or {"fault": {"kind", "detail"}}. Bytes
    /// around the frame come as "before" and "after". Blank lines and lines that start with # are skipped. All telegrams
    /// belong to one session as long as the sender stays the same.
    Decode(DecodeArgs),
    /// Say in plain words what an adapter is, what it may do, and what a station would refuse.
    Check(examine::CheckArgs),
    /// Prove an adapter by its vectors, in a station's own sandbox and limits.
    ///
    /// Every vector must hold, twice alike. Every good frame is also cut at every byte and has every bit flipped: a fault or a
    /// result must come of it, never a trap. Encoded frames are shown to the adapter again. Units must fit their quantities.
    /// What the manifest claims and no vector shows is named.
    Test(examine::TestArgs),
    /// Measure time, memory and output of every vector against a station's limits; exit code 1 when one is broken.
    Bench(examine::BenchArgs),
    /// Write the frames that a running station receives into a file, for `test --against` and `replay`.
    Record(traffic::RecordArgs),
    /// Send recorded frames to a listener, as their devices would.
    Replay(traffic::ReplayArgs),
    /// Watch a crate: whenever it changes, build it, test it and let it hear live frames in a running station.
    ///
    /// It hears them in the shadow of the version that serves, which goes on answering; where none serves, it does.
    Dev(dev::DevArgs),
    /// Make a key pair to sign adapters with; prints the public key.
    Keygen(sign::KeygenArgs),
    /// Put a signature at the end of an adapter, after those that are there.
    Sign(sign::SignArgs),
    /// Check an adapter's signatures, and whose they are.
    Verify(sign::VerifyArgs),
}

#[derive(Args)]
pub struct NewArgs {
    /// Name of the adapter, its crate and its realm: lower-case letters, digits and `_`.
    name: String,
    /// How its devices speak, if not both ways.
    #[arg(long, value_enum)]
    protocol: Option<scaffold::Protocol>,
    /// The directory to make, instead of one called like the adapter.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Args)]
pub struct BuildArgs {
    /// The crate with adapter.toml, src/ and vectors/.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The file to write, instead of adapters/<name>.wasm in the target directory.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub struct DecodeArgs {
    /// The adapter.
    file: PathBuf,
    /// Its profile.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    profile: String,
    /// A device key, 16 bytes in hex, as often as needed.
    #[arg(long, value_name = "SLOT=HEX")]
    key: Vec<String>,
    /// What the station's clock shows, such as 2024-03-15T00:20:05; otherwise this machine's local time.
    #[arg(long, value_name = "TIME")]
    now: Option<Civil>,
    /// The telegrams came as datagrams: over UDP, CoAP or MQTT.
    #[arg(long)]
    datagram: bool,
    /// One JSON object a line, for scripts.
    #[arg(long)]
    json: bool,
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::New(args) => new(&args),
        Command::Build(args) => build(&args),
        Command::Decode(args) => decode(args),
        Command::Check(args) => examine::check(&args),
        Command::Test(args) => examine::test(&args),
        Command::Bench(args) => examine::bench(&args),
        Command::Record(args) => traffic::record(&args),
        Command::Replay(args) => traffic::replay(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Keygen(args) => sign::keygen(&args),
        Command::Sign(args) => sign::sign(&args),
        Command::Verify(args) => sign::verify(&args),
    }
}

fn new(args: &NewArgs) -> Result<()> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let locked = scaffold::write(&dir, &args.name, args.protocol)?;
    line(&format!("{} is written; begin with its README.md", dir.display()))?;
    if !locked {
        note(&format!("Cargo could not settle Cargo.lock; run `cargo check` in {} before building.", dir.display()));
    }
    Ok(())
}

fn build(args: &BuildArgs) -> Result<()> {
    let built = build::build(&args.dir, args.out.as_deref())?;
    line(&format!(
        "{} {} · {} bytes · {} · {}",
        built.manifest.name,
        built.manifest.version,
        built.bytes,
        built.digest.short(),
        built.path.display()
    ))
}

fn decode(args: DecodeArgs) -> Result<()> {
    let keys = keys(&args.key)?;
    let adapter = load(&args.file, &signing::read_component(&args.file)?, keys)?;
    try_profile(&adapter, &args.profile)?;
    let mut decoder = decode::Decoder::new(adapter, args.profile, transport(args.datagram));
    let clock = Clock::system();
    let (mut input, mut output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    let mut telegrams = 0;
    while let Some(line) = decode::read_line(&mut input)? {
        let now = args.now.unwrap_or_else(|| clock.civil(clock.now_ms()));
        let Some(outcome) = decoder.line(&line, now) else { continue };
        telegrams += 1;
        if args.json {
            writeln!(output, "{outcome}")?;
        } else {
            write!(output, "{}", show::telegram(telegrams, &outcome))?;
        }
        // A person or a script that sends one telegram wants its answer before the next.
        output.flush()?;
    }
    Ok(())
}

fn transport(datagram: bool) -> Transport {
    if datagram { Transport::Datagram } else { Transport::Stream }
}

fn load(file: &Path, bytes: &[u8], keys: decode::SlotKeys) -> Result<Adapter> {
    Adapter::load(&Runtime::new(None)?, bytes, Arc::new(keys)).with_context(|| file.display().to_string())
}

/// A profile that its author gives: an option that is said twice would be two options to two readers.
fn try_profile(adapter: &Adapter, profile: &str) -> Result<()> {
    adapter.try_profile(profile).map_err(|why| anyhow::anyhow!("--profile: {why}"))?;
    check_distinct(profile.as_bytes()).context("--profile")
}

/// What `--key` names. Read here and not by the argument parser, which repeats what it cannot read: a key must not be shown.
fn keys(said: &[String]) -> Result<decode::SlotKeys> {
    let keys = said.iter().map(|text| key(text).context("--key")).collect::<Result<_>>()?;
    Ok(decode::SlotKeys(keys))
}

fn key(text: &str) -> Result<(String, [u8; 16])> {
    let (slot, digits) = text.split_once('=').context("write a key as SLOT=HEX")?;
    ensure!(!slot.is_empty(), "a key needs a slot, such as 1=00112233…");
    let mut bytes = [0; 16];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| anyhow::anyhow!("a key has 16 bytes, 32 hex digits"))?;
    Ok((slot.to_owned(), bytes))
}
