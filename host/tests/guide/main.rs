//! A stranger with nothing but `polymeter` and Rust: `sdk/README.md` followed to the letter in a clean directory outside the
//! workspace. What the guide shows as a file is written, what it shows as a command is typed; only the ports are others.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GUIDE: &str = include_str!("../../../sdk/README.md");

/// Ends with its test.
struct Clean(PathBuf);

impl Clean {
    /// A directory whose builds share the workspace's target directory: what is the same anywhere is compiled once. That is
    /// the only thing that is there before the stranger comes.
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("polymeter-guide-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join(".cargo")).expect("a directory");
        let target = binary().parent().and_then(Path::parent).expect("a target directory");
        let config = format!("[build]\ntarget-dir = {:?}\n", target.display().to_string());
        fs::write(path.join(".cargo/config.toml"), config).expect("a file");
        Self(path)
    }

    fn run(&self, script: &str) -> Output {
        let path = format!("{}:{}", binary().parent().expect("a directory").display(), env("PATH"));
        let mut shell = Command::new("bash");
        shell.args(["-eu", "-o", "pipefail", "-c", script]).current_dir(&self.0).env("PATH", path);
        // What the outer cargo left behind is none of a stranger's.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("RUSTC") || name == "RUSTFLAGS" {
                shell.env_remove(name);
            }
        }
        shell.output().expect("bash runs")
    }
}

impl Drop for Clean {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_polymeter"))
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The guide as a shell script: `sh` blocks as they stand, blocks with a path as files.
fn script() -> String {
    let mut script = String::new();
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match info.split_once(' ') {
            Some((_, file)) => writeln!(script, "cat > {file} <<'END OF THE BLOCK'\n{block}\nEND OF THE BLOCK"),
            None if info == "sh" => writeln!(script, "{block}"),
            None => Ok(()),
        }
        .expect("a String takes it");
    }
    script
}

/// Two tests of it may run on one machine; and what is still running when the script fails has to end with it.
fn on_free_ports(script: &str) -> String {
    let mut held = Vec::new();
    let mut moved = script.to_owned();
    for port in ["127.0.0.1:7001", "127.0.0.1:7002"] {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        moved = moved.replace(port, &socket.local_addr().expect("an address").to_string());
        held.push(socket);
    }
    format!("set -m; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{moved}")
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}\n--- standard error ---\n{err}")
}

#[test]
fn a_stranger_ships_an_adapter_from_the_guide_alone() {
    let clean = Clean::new("stranger");
    let script = on_free_ports(&script());
    for part in
        ["adapter new", "src/lib.rs", "cargo test", "adapter build", "adapter sign", "adapter verify", "serve --config"]
    {
        assert!(script.contains(part), "the guide has no {part}");
    }
    let output = clean.run(&script);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in [
        "acme_g4 is written",
        "test result: ok. 2 passed",
        "acme_g4 1.0.0 · 10 of 10 vectors agree",
        "0 read otherwise, 0 broke it",
        "2 of 2 claimed are shown by vectors",
        "1234.567 cubic-metre",
        "signatures: 1",
        "The signatures are true",
        "10 vectors agree; in the station it serves",
        "meter 12345678 has reported",
        "1 sessions · 1 frames sent · 1 answered",
        "takes over the state and memory of other versions",
        "10 vectors agree; in the station it hears live frames",
        "acme_g4 1.1.0 is active: state of layout 2",
        "acme_g4 1.0.0 is active: rolled back: only a trial",
        "signed by acme",
        "acme_g4 1.0.0 is active: first meters of ACME",
        // Read under a profile, by the vector and then by hand.
        "acme_g4 1.2.0 · 11 of 11 vectors agree",
        "12345.67",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    same_source_same_bytes(&clean);
    a_new_adapter_is_whole_as_it_is_written(&clean);
}

/// In one test with the above, since builds of crates of one name in one target directory must not overlap.
fn same_source_same_bytes(clean: &Clean) {
    // The same source in another place, deeper and differently named, gives the same bytes.
    let again = clean.run(
        "mkdir -p elsewhere/deeper && cp -r acme_g4 elsewhere/deeper/other
         polymeter adapter build elsewhere/deeper/other -o other.wasm
         cmp acme_g4/acme_g4-1.2.wasm other.wasm
         ! grep -a -F -e \"$PWD\" -e \"$HOME\" other.wasm",
    );
    assert!(again.status.success(), "{}", text(&again));
    let anew = |line: &str| line.contains("Compiling acme_g4") && line.ends_with("elsewhere/deeper/other)");
    assert!(text(&again).lines().any(anew), "not built anew\n{}", text(&again));
}

fn a_new_adapter_is_whole_as_it_is_written(clean: &Clean) {
    let output =
        clean.run("polymeter adapter new fresh --protocol udp && cd fresh && ./ci.sh && cargo build --examples");
    assert!(output.status.success(), "{}", text(&output));
    for part in ["1 of 1 claimed are shown by vectors", "and what a station allows:"] {
        assert!(text(&output).contains(part), "{part} is not in:\n{}", text(&output));
    }
    let refused = clean.run("polymeter adapter new fresh");
    assert!(!refused.status.success() && text(&refused).contains("exists already"), "{}", text(&refused));
}

#[test]
fn a_build_wants_its_lock_file() {
    let clean = Clean::new("lock");
    let output = clean.run("polymeter adapter new loose && rm loose/Cargo.lock && polymeter adapter build loose");
    assert!(!output.status.success() && text(&output).contains("Cargo.lock is missing"), "{}", text(&output));
}
