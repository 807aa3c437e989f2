//! One concentrator with 2,000 meters of three makes behind it, all read once: what it costs the station, and what it costs the
//! lines, whose time is counted by their speed and not slept.

use super::process::{cpu_of, fresh_dir};
use super::table::{Bound, Table};
use anyhow::{Context, ensure};
use fleet::station::{Listener, Settings, Station, bundled_adapters};
use polymeter_sdk::Framing;
use polymeter_tests::behind::{Lines, Meter};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use usp::device::{Device, Heard, framing};

const METERS: u32 = 2_000;
const CHANNELS: u32 = 32;
const BAUD: u32 = 9_600;
const CONCENTRATOR: &str = "50009900000001";
const NOW: i64 = 1_710_504_000;
const PATIENCE: Duration = Duration::from_secs(120);
const POLLS: [(&str, &str, &str); 3] = [
    ("gas", "read = \"current\"", "cjt188"),
    ("bus", "read = \"current\"", "en13757"),
    ("months", "history = \"month\"", "szrq"),
];

pub fn read_all(table: &mut Table) -> anyhow::Result<()> {
    let lines = Lines::new(NOW, BAUD);
    let mut csv = String::from("device,kind,adapter,parent,protocol,channel,line_address\n");
    let parent = format!("usp/{CONCENTRATOR}");
    writeln!(csv, "{parent},concentrator,usp,,,,")?;
    for n in 0..METERS {
        let meter = match n % 3 {
            0 => Meter::cjt188(&format!("{:014}", 10_000 + n)),
            1 => Meter::mbus(&format!("LGB{:08}4003", 20_000 + n)),
            _ => Meter::szrq(&format!("SZ{:014}", 30_000 + n)),
        };
        let (key, about) = lines.add(&parent, meter, (n % CHANNELS) as u8 + 1);
        let word = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
        let (adapter, protocol, called) = (word("adapter"), word("protocol"), word("line_address"));
        writeln!(csv, "{key},meter,{adapter},{parent},{protocol},{},{called}", about["channel"])?;
    }
    let dir = fresh_dir("behind")?;
    let file = dir.join("devices.csv");
    std::fs::write(&file, csv)?;
    let mut station = Station::prepare(&dir.join("site"), &settings(), &bundled_adapters()?)?;
    station.start()?;
    let (http, token) = (station.http()?.to_owned(), station.token().to_owned());
    let file = file.to_str().context("a path")?;
    station.run(&["registry", "import", file, "--url", &format!("http://{http}"), "--token", &token])?;
    let stream = TcpStream::connect(station.door("meters")?)?;
    let serving = std::thread::spawn({
        let lines = lines.clone();
        move || serve(stream, &lines)
    });
    let api = station.api()?;
    let pid = station.pid().context("it runs")?;
    let (begun, before) = (Instant::now(), cpu_of(pid)?);
    for (name, ..) in POLLS {
        api.post(&format!("polls/{name}/rounds"), &json!({}))?;
    }
    let told = loop {
        let polls = api.rows("polls")?;
        let sum = |what: &str| polls.iter().filter_map(|poll| poll["last"][what].as_u64()).sum::<u64>();
        if sum("answered") + sum("failed") >= u64::from(METERS) && sum("waiting") == 0 {
            break (sum("answered"), sum("failed"));
        }
        ensure!(begun.elapsed() < PATIENCE, "not read after {PATIENCE:?}: {}", Value::Array(polls));
        std::thread::sleep(Duration::from_millis(100));
    };
    let (cpu, wall) = (cpu_of(pid)?.saturating_sub(before), begun.elapsed());
    ensure!(told == (u64::from(METERS), 0), "{told:?} answered and failed");
    let line_s = lines.lock().busy_ms.values().copied().fold(0.0, f64::max) / 1e3;
    station.stop()?;
    // The connection went with the station.
    drop(serving.join());
    let row = |what: &str| format!("i 2,000 meters of three makes behind one concentrator, {what}");
    table.row(row("processor time"), cpu.as_secs_f64(), "s", None, Some(Bound::ValueAtMost(1.0)));
    table.row(row("busiest of 32 lines"), line_s, "s (sim)", None, Some(Bound::ValueAtMost(10.0)));
    table.row(row("from begin to end"), wall.as_secs_f64(), "s", None, None);
    Ok(())
}

fn settings() -> Settings {
    let mut settings = Settings::usual();
    let mut meters = Listener::tcp("meters", "\"usp\"");
    meters.more = format!("lines_at_once = {CHANNELS}");
    (settings.listeners, settings.log) = (vec![meters], "warn".into());
    for (name, asks, adapter) in POLLS {
        // Far from any time that may come while this runs: rounds are asked for.
        let _ = write!(
            settings.more,
            "[[polls]]\nname = \"{name}\"\n{asks}\nadapter = \"{adapter}\"\nat = \"03:33\"\nday = 28\ndeadline_minutes = 10\n"
        );
    }
    settings
}

/// The concentrator: registers, and carries out what it is told until the station goes.
fn serve(mut stream: TcpStream, lines: &Lines) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut device = Device::concentrator(CONCENTRATOR);
    device.carrier.behind = lines.behind();
    stream.write_all(&device.registration(NOW))?;
    let (mut received, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        received.extend_from_slice(&chunk[..read]);
        let mut answers = Vec::new();
        while let Framing::Frame(length) | Framing::Skip(length) = framing(&received) {
            let frame: Vec<u8> = received.drain(..length as usize).collect();
            if let Ok(Heard::Command { frames, .. }) = device.hear(NOW, &frame) {
                answers.extend(frames.concat());
            }
        }
        stream.write_all(&answers)?;
    }
}
