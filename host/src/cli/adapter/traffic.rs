//! `polymeter adapter record|replay`: frames out of a running station into a file, and out of a file into a listener.

use crate::adapter::Direction;
use crate::cli::client::{Access, Client, device_path};
use crate::cli::output::note;
use crate::kit::capture::{self, Recorded};
use crate::kit::replay::{self, Step, Target};
use crate::limits::REPLAY_WAIT_MAX;
use crate::model::Civil;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const POLL_EVERY: Duration = Duration::from_millis(500);
const HEADER: &str = "# time, session, direction, bytes";

#[derive(Args)]
pub struct RecordArgs {
    /// The file to write, instead of standard output; what is in it stays until a frame comes.
    #[arg(short, long)]
    out: Option<PathBuf>,
    /// Only frames of this listener.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Only frames of this device, as realm/address.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Begin at this journal entry instead of now; 1 is the oldest.
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// End after so many frames.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    frames: usize,
    /// End after so many seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
    #[command(flatten)]
    access: Access,
}

#[derive(Args)]
pub struct ReplayArgs {
    /// Recorded frames: one a line in hex, or as `adapter record` writes them.
    file: PathBuf,
    /// The listener.
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// Send datagrams instead of opening a connection for every session.
    #[arg(long)]
    udp: bool,
    /// How long to wait for the answer to each frame.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    wait_ms: u64,
}

/// Follows the journal; what a station answers is in no entry, so a capture has uplink frames only.
pub fn record(args: &RecordArgs) -> Result<()> {
    let client = args.access.remote.connect()?;
    if let Some(device) = &args.device {
        client.get(&device_path(device)?)?;
    }
    let unknown = unknown_listener(args, &client)?;
    // Old entries may well be of a listener that is gone.
    if let Some(why) = unknown.as_ref().filter(|_| args.from.is_none()) {
        bail!("{why}");
    }
    let mut out: Box<dyn Write> = match &args.out {
        Some(path) => Box::new(BufWriter::new(Fresh::open(path).with_context(|| path.display().to_string())?)),
        None => Box::new(io::stdout().lock()),
    };
    let newest = || -> Result<u64> { Ok(client.get("journal")?["last_seq"].as_u64().unwrap_or_default()) };
    let mut after = match args.from {
        Some(seq) => seq.saturating_sub(1),
        None => newest()?,
    };
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut written = 0;
    while written < args.frames {
        let before = after;
        written += entries(args, &client, &mut after, args.frames - written, &mut out)?;
        out.flush()?;
        if Instant::now() >= end {
            break;
        }
        if after == before {
            std::thread::sleep(POLL_EVERY);
        }
    }
    let to = args.out.as_ref().map_or_else(|| "standard output".into(), |path| path.display().to_string());
    note(&format!("{written} frames in {to}"));
    match unknown {
        Some(why) if written == 0 => bail!("{why}"),
        _ => Ok(()),
    }
}

/// A file that is emptied when there is something to write: a capture that nothing follows is worth keeping.
struct Fresh {
    file: File,
    begun: bool,
}

impl Fresh {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().create(true).write(true).truncate(false).open(path)?, begun: false })
    }
}

impl Write for Fresh {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe or a device has nothing to empty.
        if !std::mem::replace(&mut self.begun, true) && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Why nothing will come of the listener that is wanted: the station has none of that name.
fn unknown_listener(args: &RecordArgs, client: &Client) -> Result<Option<String>> {
    let Some(wanted) = &args.listener else { return Ok(None) };
    let status = client.get("station")?;
    let names: Vec<&str> = status["listeners"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let unknown = !names.contains(&wanted.as_str());
    Ok(unknown.then(|| format!("--listener: there is no `{wanted}` here; there are {}", names.join(", "))))
}

/// What there is by now; gives how many frames were written.
fn entries(args: &RecordArgs, client: &Client, after: &mut u64, most: usize, out: &mut dyn Write) -> Result<usize> {
    let mut written = 0;
    for row in client.rows("journal/entries", &[], usize::MAX).after(after.to_string()) {
        let row = row?;
        *after = row["seq"].as_u64().unwrap_or(*after);
        if let Some(frame) = row.get("frame").filter(|frame| is_wanted(args, frame)) {
            if written == 0 && most == args.frames {
                writeln!(out, "{HEADER}")?;
            }
            writeln!(out, "{}", recorded(frame)?)?;
            written += 1;
            if written == most {
                break;
            }
        }
    }
    Ok(written)
}

fn is_wanted(args: &RecordArgs, frame: &Value) -> bool {
    let is = |key: &str, wanted: &Option<String>| wanted.is_none() || frame[key].as_str() == wanted.as_deref();
    is("listener", &args.listener) && is("device", &args.device)
}

fn recorded(frame: &Value) -> Result<Recorded> {
    let raw = frame["raw"].as_str().context("the station shows no raw bytes; is it of this version?")?;
    Ok(Recorded {
        line: 0,
        at: frame["received"].as_str().and_then(moment),
        session: frame["session"].as_u64().unwrap_or_default(),
        direction: Direction::Uplink,
        bytes: hex::decode(raw)?,
    })
}

/// The API's instants are UTC with a fraction; a capture's are whole seconds of the same clock.
fn moment(text: &str) -> Option<Civil> {
    text.get(..19)?.parse().ok()
}

pub fn replay(args: &ReplayArgs) -> Result<()> {
    let wait = Duration::from_millis(args.wait_ms);
    ensure!(wait > Duration::ZERO && wait <= REPLAY_WAIT_MAX, "--wait-ms: 1 to {}", REPLAY_WAIT_MAX.as_millis());
    let station: SocketAddr = args
        .to
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("--to: `{}` is no address; write HOST:PORT", args.to))?;
    let recorded = capture::read(&args.file)?;
    let mut out = io::stdout().lock();
    let target = Target { station, datagrams: args.udp, wait };
    let sums = replay::run(target, recorded, |step| {
        match step {
            Step::Sent(frame) => writeln!(out, "> {}", hex::encode(&frame.bytes))?,
            Step::Answered(bytes) => writeln!(out, "< {}", hex::encode(bytes))?,
            Step::Silence => writeln!(out, "- no answer")?,
            Step::Closed => writeln!(out, "- the station has closed")?,
        }
        Ok(())
    })?;
    writeln!(
        out,
        "{} sessions · {} frames sent · {} answered · {} left",
        sums.sessions, sums.sent, sums.answered, sums.left
    )?;
    if sums.sent == 0 {
        bail!("nothing could be sent to {station}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_stays_until_something_follows_it() {
        let path = std::env::temp_dir().join(format!("polymeter-capture-{}", std::process::id()));
        std::fs::write(&path, "a capture of yesterday\n").expect("written");
        let text = || std::fs::read_to_string(&path).expect("readable");
        let mut out = BufWriter::new(Fresh::open(&path).expect("opens"));
        out.flush().expect("nothing to write");
        assert_eq!(text(), "a capture of yesterday\n");
        writeln!(out, "{HEADER}").expect("written");
        out.flush().expect("written");
        writeln!(out, "aa").expect("written");
        out.flush().expect("written");
        assert_eq!(text(), format!("{HEADER}\naa\n"));
        std::fs::remove_file(&path).expect("removed");
    }
}
