//! Frames out of a running station into a file, and out of the file into another one.

use fleet::station::built;
use polymeter_tests::site::Site;
use polymeter_tests::usp::{Terminal, meter};
use std::path::Path;
use std::process::Command;

fn polymeter(args: &[&str]) -> String {
    let output = Command::new(built("polymeter").expect("a binary")).args(args).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What two devices said is recorded; said again to an empty station, it is answered and understood there.
#[test]
fn what_was_recorded_can_be_said_again() {
    let first = Site::usual();
    for address in ["50001234567860", "50001234567861"] {
        let mut terminal = Terminal::tcp(meter(address), first.meters());
        terminal.register();
        terminal.daily();
        terminal.peer.finish();
    }
    first.catch_up();
    let file = std::env::temp_dir().join(format!("polymeter-frames-{}.hex", std::process::id()));
    let path = file.to_str().expect("a name").to_owned();
    let url = format!("http://{}", first.http().expect("an address"));
    let access = ["--url", &url, "--token", first.token()];
    let wanted = ["adapter", "record", "--from", "1", "--frames", "4", "--listener", "meters", "-o", &path];
    polymeter(&[&wanted[..], &access[..]].concat());
    let lines = std::fs::read_to_string(&file).expect("a capture");
    assert_eq!(lines.lines().filter(|line| line.contains(" uplink ")).count(), 4, "{lines}");

    let second = Site::usual();
    let said = polymeter(&["adapter", "replay", &path, "--to", &second.meters().to_string()]);
    assert!(said.contains("2 sessions · 4 frames sent · 4 answered · 0 left"), "{said}");
    for address in ["50001234567860", "50001234567861"] {
        assert!(second.device(&format!("usp/{address}")).is_some(), "{said}");
        let readings = first.readings(&format!("usp/{address}"), "working-volume");
        assert_eq!(second.readings(&format!("usp/{address}"), "working-volume"), readings);
    }
    let usp = fleet::station::bundled_adapters().expect("bundled adapters");
    let usp = usp.iter().find(|path| path.ends_with("usp.wasm")).expect("usp");
    let said = polymeter(&["adapter", "test", utf8(usp), "--against", &path]);
    assert!(said.contains("4 of 4 frames read"), "{said}");
    let _ = std::fs::remove_file(&file);
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a name")
}
