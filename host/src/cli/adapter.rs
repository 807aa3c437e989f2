//! `polymeter adapter …`: the author's kit on the command line. What needs a running station comes through its HTTP API.

use crate::adapter::{Adapter, Runtime, Transport};
use crate::clock::Clock;
use crate::kit::{build, decode, show};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::model::Civil;
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Subcommand)]
pub enum Command {
    /// Build an adapter crate into one self-contained `.wasm` file.
    Build(BuildArgs),
    /// Decode telegrams: hexadecimal digits on standard input, one telegram a line.
    ///
    /// Prints one result a line: {"messages": [...], "sender": {...}, "reply": "hex"} or {"fault": {"kind", "detail"}}. Bytes
    /// around the frame come as "before" and "after". Blank lines and lines that start with # are skipped. All telegrams
    /// belong to one session as long as the sender stays the same.
    Decode(DecodeArgs),
    /// Run an adapter's embedded vectors through the sandbox, as a station does before it serves.
    Test {
        /// The adapter.
        file: PathBuf,
    },
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
    #[arg(long, value_name = "SLOT=HEX", value_parser = key)]
    key: Vec<(String, [u8; 16])>,
    /// What the station's clock shows, such as 2024-03-15T00:20:05; otherwise this machine's local time.
    #[arg(long, value_name = "TIME")]
    now: Option<Civil>,
    /// The telegrams came as datagrams.
    #[arg(long)]
    datagram: bool,
    /// One JSON object a line, for scripts.
    #[arg(long)]
    json: bool,
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Build(args) => build(&args),
        Command::Decode(args) => decode(args),
        Command::Test { file } => test(&file),
    }
}

fn build(args: &BuildArgs) -> Result<()> {
    let built = build::build(&args.dir, args.out.as_deref())?;
    println!(
        "{} {} · {} bytes · {} · {}",
        built.manifest.name,
        built.manifest.version,
        built.bytes,
        built.digest.short(),
        built.path.display()
    );
    Ok(())
}

fn decode(args: DecodeArgs) -> Result<()> {
    let keys = decode::SlotKeys(args.key.into_iter().collect());
    let adapter = load(&args.file, &read(&args.file)?, keys)?;
    adapter.try_profile(&args.profile).map_err(|why| anyhow::anyhow!("--profile: {why}"))?;
    let transport = if args.datagram { Transport::Datagram } else { Transport::Stream };
    let mut decoder = decode::Decoder::new(adapter, args.profile, transport);
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

fn test(file: &Path) -> Result<()> {
    let bytes = read(file)?;
    let adapter = load(file, &bytes, decode::SlotKeys::default())?;
    let found = adapter.conform(&bytes)?;
    for difference in &found.differences {
        println!("{difference}\n");
    }
    ensure!(found.vectors > 0, "{} carries no vectors; put some under vectors/ and build it again", file.display());
    ensure!(found.differences.is_empty(), "{} vectors differ", found.differences.len());
    println!("{} {} · {} vectors agree", adapter.name(), adapter.version(), found.vectors);
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(bytes)
}

fn load(file: &Path, bytes: &[u8], keys: decode::SlotKeys) -> Result<Adapter> {
    Adapter::load(&Runtime::new(None)?, bytes, Arc::new(keys)).with_context(|| file.display().to_string())
}

fn key(text: &str) -> Result<(String, [u8; 16])> {
    let (slot, digits) = text.split_once('=').context("write a key as SLOT=HEX")?;
    ensure!(!slot.is_empty(), "a key needs a slot, such as 1=00112233…");
    let mut bytes = [0; 16];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| anyhow::anyhow!("a key has 16 bytes, 32 hex digits"))?;
    Ok((slot.to_owned(), bytes))
}
