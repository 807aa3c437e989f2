//! What is there without a token: health, metrics, and the status page within its policy.

use crate::served::{Served, daily, frame, registration};
use polymeter::journal::{Entry, Fact};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[test]
fn health_and_metrics_speak_for_watchdogs() {
    let served = Served::start();
    let (status, health) = served.ask("GET", "/health", None, None);
    assert_eq!((status, health["status"].as_str()), (200, Some("ok")));
    let (status, text) = served.raw("GET", "/metrics", &[], Vec::new());
    assert_eq!(status, 200);
    for line in ["polymeter_journal_failing 0", "polymeter_views_lag_entries", "# EOF"] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn health_tells_of_a_clock_that_is_behind_the_journal() {
    let served = Served::start();
    let services = served.station().services();
    // Three days ahead, and then right again: nobody but people can know that it is right.
    for ahead_ms in [3 * 86_400_000, 0] {
        let fact = Fact::DeviceAdopted { device: "usp/1".parse().expect("a device"), by: "test".into() };
        let entry = Entry { at_ms: services.clock.now_ms() + ahead_ms, fact };
        services.journal.append_blocking(entry).expect("appends");
        let (status, health) = served.ask("GET", "/health", None, None);
        assert_eq!((status, health["status"].as_str()), (503, Some("failing")));
        let clock = health["clock"].as_str().expect("says why");
        assert!(clock.contains("Set the clock right") && clock.contains("cancel the orders that wait"), "{clock}");
    }
}

/// No adapter is installed: the listener says so, and what came there says whom it lacked.
#[test]
fn frames_that_find_nobody_name_who_is_out_of_service() {
    let served = Served::start();
    let (status, health) = served.ask("GET", "/health", None, None);
    assert_eq!((status, &health["idle_listeners"]), (200, &json!(["nb"])));
    let missing = health["out_of_service"][0].as_str().expect("who is missing");
    assert!(
        missing.starts_with("usp: no version serves, and listener") && missing.contains("correct the name"),
        "{missing}"
    );
    let (_, address) = served.station().addresses().first().expect("a listener").clone();
    let mut peer = TcpStream::connect(address).expect("connects");
    peer.write_all(&[0x68, 0x16]).expect("sends");
    // The station hangs up once it has kept the bytes; what was unread may reset the connection.
    let _ = peer.read_to_end(&mut Vec::new());
    served.tell(Fact::DeviceAdopted { device: "usp/1".parse().expect("a device"), by: "test".into() });
    let (_, kept) = served.get("quarantine");
    let detail = "no adapter of this listener takes these bytes; not in service: usp";
    assert_eq!(kept.pointer("/items/0/detail"), Some(&json!(detail)), "{kept}");
}

#[test]
fn the_page_shows_the_fleet_and_only_to_those_it_is_for() {
    let served = Served::start();
    served.tell(frame("1", vec![registration(), daily("2024-03-01T00:10:00", 123_456, &["<b>alarm"])], false));
    let (status, page) = served.raw("GET", "/", &[], Vec::new());
    assert_eq!(status, 200);
    for expected in ["1234.56", "usp/1", "&lt;b&gt;alarm", "<svg"] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("<b>alarm"));
    // A name that leads here but is not ours: a page elsewhere must not read this one through a visitor's browser.
    let (status, text) = served.raw("GET", "/", &[("host", Some("evil.example".into()))], Vec::new());
    assert!(status == 403 && text.contains("not-allowed"), "{status} {text}");
    let open = Served::with_page("open");
    assert_eq!(open.raw("GET", "/", &[("host", Some("meters.example".into()))], Vec::new()).0, 200);
    let off = Served::with_page("off");
    assert_eq!(off.raw("GET", "/", &[], Vec::new()).0, 404);
}
