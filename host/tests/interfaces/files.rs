//! Open files: peers that hold their connections and say nothing keep nobody else out.

use crate::served::{fresh_dir, write_configuration};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// What a station may open here, and what has to be left of it for its next files.
const FILES_MAX: usize = 110;
const FILES_LEFT: usize = 32;
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where it listens, once it does.
fn whereabouts(dir: &Path) -> Value {
    let begun = Instant::now();
    loop {
        match fs::read(dir.join("data/station.json")) {
            Ok(text) => return serde_json::from_slice(&text).expect("JSON"),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn silent_peers_leave_the_station_its_files() {
    let dir = fresh_dir();
    let config = write_configuration(&dir);
    let limited = format!("ulimit -n {FILES_MAX}; exec \"$0\" serve --config \"$1\"");
    let mut station = Command::new("sh");
    station.args(["-c", &limited, env!("CARGO_BIN_EXE_polymeter")]).arg(&config);
    let station = station.stderr(File::create(dir.join("log")).expect("a log")).spawn().expect("runs");
    let station = Running(station);
    let at = whereabouts(&dir);
    let address = at["listeners"]["nb"].as_str().expect("an address");
    let mut silent: Vec<TcpStream> =
        (0..FILES_MAX + 40).map(|_| TcpStream::connect(address).expect("connects")).collect();
    // In the order in which they came: when the last one knows, all do.
    let last = silent.last_mut().expect("some");
    last.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let closed = last.read(&mut [0; 1]);
    let in_time = !closed.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
    assert!(in_time && !matches!(closed, Ok(1)), "one too many is closed at once: {closed:?}");
    let health = ureq::get(format!("http://{}/health", at["http"].as_str().expect("an address"))).call();
    assert!(health.is_ok(), "{health:?}");
    let open = fs::read_dir(format!("/proc/{}/fd", station.0.id())).expect("a process").count();
    assert!(open + FILES_LEFT <= FILES_MAX, "{open} files are open");
    let log = fs::read_to_string(dir.join("log")).expect("a log");
    assert!(log.contains("the limit of open files lets fewer devices connect"), "{log}");
    drop((silent, station));
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn a_station_that_cannot_say_where_it_is_serves_all_the_same() {
    let dir = fresh_dir();
    let config = write_configuration(&dir);
    // Where its draft should be written, as good as a disk that is full just then.
    fs::create_dir_all(dir.join("data/station.json.draft")).expect("a directory in the way");
    let mut station = Command::new(env!("CARGO_BIN_EXE_polymeter"));
    station.args(["serve", "--config"]).arg(&config);
    let station = station.stderr(File::create(dir.join("log")).expect("a log")).spawn().expect("runs");
    let mut station = Running(station);
    let begun = Instant::now();
    while !fs::read_to_string(dir.join("log")).expect("a log").contains("station.json cannot be written") {
        assert!(
            begun.elapsed() < PATIENCE && station.0.try_wait().expect("a process").is_none(),
            "it serves, and says so"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = Pid::from_raw(station.0.id().cast_signed()).expect("a process");
    kill_process(pid, Signal::TERM).expect("a signal");
    assert!(station.0.wait().expect("ends").success(), "it ran until it was asked to stop");
    drop(station);
    let _ = fs::remove_dir_all(&dir);
}
