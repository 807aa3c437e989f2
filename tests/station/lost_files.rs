//! The journal's files are taken away from a running station: it writes into what nobody will find again, and the system has
//! no error for that. Nobody is told "yes", everybody can see why; what was put back is gone on with, and what was not is not
//! begun anew.

use crate::full_disk::{await_failing, await_well, is_accepted};
use fleet::station::Settings;
use polymeter_tests::peer::Peer;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, meter};
use std::path::{Path, PathBuf};

const DAY_S: i64 = 86_400;

#[test]
fn nobody_is_told_yes_while_the_journal_is_gone() {
    let mut settings = Settings::usual();
    settings.log = "warn".into();
    let mut site = Site::with(&settings);
    let mut terminal = Terminal::tcp(meter("70000000000001"), site.meters());
    assert!(reports(&mut terminal, &site));
    let data = site.data();
    let (journal, aside) = (data.join("journal"), data.with_extension("aside"));
    for moved in [newest_file(&journal), data.clone()] {
        std::fs::rename(&moved, &aside).expect("moves");
        let why = await_failing(&site);
        assert!(why.contains("is gone or another one"), "seen before anybody reports: {why}");
        assert!(!reports(&mut terminal, &site), "acknowledged without {}", moved.display());
        let why = await_failing(&site);
        assert!(why.contains("is gone or another one: put it back under its name"), "{why}");
        std::fs::rename(&aside, &moved).expect("moves back");
        await_well(&site);
        assert!(reports(&mut terminal, &site), "{} is back", moved.display());
    }
    std::fs::remove_file(newest_file(&journal)).expect("removes");
    assert!(!reports(&mut terminal, &site), "acknowledged without a file");
    await_failing(&site);
    site.stop().expect("a station that stops");
    let refused = site.start().expect_err("the journal is missing").to_string();
    assert!(refused.contains("the journal's files are missing"), "{refused}");
    assert!(files(&journal).is_empty(), "no new file");
}

/// A revocation that could not be told is made up for, although the trust file does not change again.
#[test]
fn who_is_revoked_while_the_journal_is_gone_serves_no_more_once_it_is_back() {
    let mut settings = Settings::usual();
    settings.log = "warn".into();
    let site = Site::with(&settings);
    let state = || site.rows("adapters/usp/history")[0]["state"].clone();
    let digest = site.rows("adapters").into_iter().find(|row| row["name"] == "usp").expect("it serves");
    let revoked = format!("[revoked]\ndigests = [{}]\n", digest["digest"]);
    let (file, aside) = (newest_file(&site.data().join("journal")), site.data().with_extension("aside"));
    std::fs::rename(&file, &aside).expect("moves");
    await_failing(&site);
    std::fs::write(site.data().join("trust.toml"), revoked).expect("written");
    wait_until("it cannot be told", || {
        let log = std::fs::read_to_string(site.log_file()).expect("a log");
        log.contains("who serves cannot be changed").then_some(())
    });
    assert_eq!(state(), "active");
    std::fs::rename(&aside, &file).expect("moves back");
    wait_until("it is told", || (state() == "quarantined").then_some(()));
}

/// Comes again a day later; whether its report is acknowledged.
fn reports(terminal: &mut Terminal, site: &Site) -> bool {
    terminal.peer = Peer::tcp(site.meters());
    terminal.now += DAY_S;
    let registration = terminal.device.registration(terminal.now);
    if !is_accepted(terminal, &registration) {
        return false;
    }
    let daily = terminal.device.daily(terminal.now, &[]);
    is_accepted(terminal, &daily)
}

/// The file that is written.
fn newest_file(journal: &Path) -> PathBuf {
    files(journal).into_iter().max().expect("a file")
}

fn files(journal: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(journal).expect("lists").map(|file| file.expect("a file").path());
    files.filter(|file| file.extension().is_some_and(|e| e == "redb")).collect()
}
