//! Devices that come through TLS: the same conversations, other certificates under open connections, and who is kept out.

use fleet::station::{Listener, Settings};
use polymeter_tests::authority::{Authority, Papers, Secured};
use polymeter_tests::peer::Peer;
use polymeter_tests::qianwei::QianweiMeter;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::site::{Site, wait_until};
use polymeter_tests::usp::{Terminal, meter};
use qianwei_7xxx::device::Meter;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use usp::device::{Device, Terminal as Kind};

const ALWAYS_ONLINE: u16 = 0x0049;

/// A station with a listener `secured` beside the usual one, and the files of its certificate.
struct Place {
    site: Site,
    authority: Authority,
    files: Scratch,
}

impl Place {
    fn new(more: &str) -> Self {
        let (authority, files) = (Authority::default(), Scratch::new());
        put(&files.path(""), &authority.papers());
        std::fs::write(files.path("ca.pem"), authority.pem()).expect("a file");
        let mut settings = Settings::usual();
        let mut listener = Listener::on("tls", "secured", r#""usp", "qianwei_7xxx""#);
        let (certificate, key) = (files.quoted("station.pem"), files.quoted("station.key"));
        listener.more = format!("[listener.tls]\ncertificate = {certificate}\nkey = {key}\n{more}")
            .replace("CA", &files.quoted("ca.pem"));
        settings.listeners.push(listener);
        settings.log = "info,polymeter=debug".into();
        Self { site: Site::with(&settings), authority, files }
    }

    fn door(&self) -> SocketAddr {
        self.site.door("secured").expect("a listener")
    }

    fn peer(&self) -> Peer {
        Peer::secured(self.authority.connect(self.door(), None, &[&TLS13]).expect("a handshake"))
    }

    fn failures(&self) -> u64 {
        let text = self.site.client().text("/metrics").expect("metrics").1;
        let line = text.lines().find(|line| line.starts_with("polymeter_tls_handshakes_failed_total"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    }
}

fn put(dir: &Path, papers: &Papers) {
    std::fs::write(dir.join("station.pem"), &papers.certificate).expect("a file");
    std::fs::write(dir.join("station.key"), &papers.key).expect("a file");
}

fn online(address: &str) -> Device {
    let mut device = Device::new(Kind::Meter, address, ALWAYS_ONLINE);
    device.readings = meter(address).readings;
    device
}

#[test]
fn whole_conversations_go_through_tls() {
    let place = Place::new("");
    Terminal::on(meter("50001234567870"), place.peer()).whole_communication();
    let mut other = QianweiMeter::on(Meter::plain("00000000123456789070"), place.peer());
    assert_eq!(other.report(), (0, false));
    assert_eq!(other.hear(), None, "nothing waits for it, so the station closes");
    assert_eq!(place.site.readings("usp/50001234567870", "working-volume").len(), 2);
    assert_eq!(place.site.readings("qianwei/00000000123456789070", "working-volume").len(), 1);
}

#[test]
fn a_device_moves_from_tcp_to_tls_and_takes_its_commands_along() {
    let place = Place::new("");
    let mut terminal = Terminal::tcp(online("50001234567871"), place.site.meters());
    assert_eq!(terminal.register().result, 0);
    let mut old = std::mem::replace(&mut terminal.peer, place.peer());
    assert_eq!(terminal.register().result, 0);
    assert_eq!(old.until_closed(), [0; 0], "the plain connection ends without a word");
    assert_eq!(terminal.daily().result, 0);
    let id = place.site.order("usp/50001234567871", &json!({"read": {"scope": "current"}}));
    assert_eq!(terminal.obey().1, 0);
    place.site.await_state(id, "done");
}

#[test]
fn old_versions_only_where_they_are_allowed() {
    let place = Place::new("");
    place.authority.connect(place.door(), None, &[&TLS12]).expect_err("1.3 is the oldest unless the file says more");
    wait_until("the failure is counted", || (place.failures() == 1).then_some(()));
    let place = Place::new("oldest = \"1.2\"");
    let old = place.authority.connect(place.door(), None, &[&TLS12]).expect("a handshake");
    Terminal::on(meter("50001234567872"), Peer::secured(old)).whole_communication();
    Terminal::on(meter("50001234567873"), place.peer()).whole_communication();
}

#[test]
fn devices_show_certificates_where_they_have_to() {
    let place = Place::new("client_ca = CA");
    let connect = |papers: Option<&Papers>| {
        let mut secured = place.authority.connect(place.door(), papers, &[&TLS13])?;
        // With TLS 1.3 a client learns of its refusal only when it reads.
        let frame = meter("50001234567874").registration(polymeter_tests::usp::civil("2024-03-15T12:00:00"));
        secured.write_all(&frame)?;
        secured.flush()?;
        secured.read(&mut [0; 64])
    };
    connect(None).expect_err("no certificate");
    connect(Some(&Authority::default().papers())).expect_err("a stranger's certificate");
    assert!(connect(Some(&place.authority.papers())).expect("an answer") > 0);
    wait_until("both failures are counted", || (place.failures() == 2).then_some(()));
    let optional = Place::new("client_ca = CA\nclient_certificates = \"optional\"");
    Terminal::on(meter("50001234567875"), optional.peer()).whole_communication();
}

#[test]
fn a_new_certificate_serves_without_a_restart() {
    let place = Place::new("");
    let mut stays = Terminal::on(online("50001234567876"), place.peer());
    assert_eq!(stays.register().result, 0);
    // One file after the other: in between, key and certificate do not fit, and the old ones serve on.
    let new = Authority::default();
    let papers = new.papers();
    std::fs::write(place.files.path("station.pem"), &papers.certificate).expect("a file");
    wait_until("the station has seen that they do not fit", || {
        let log = std::fs::read_to_string(place.site.log_file()).expect("a log");
        log.contains("the certificate before goes on serving").then_some(())
    });
    Terminal::on(meter("50001234567877"), place.peer()).whole_communication();
    std::fs::write(place.files.path("station.key"), &papers.key).expect("a file");
    let secured = wait_until("the new certificate is shown", || new.connect(place.door(), None, &[&TLS13]).ok());
    Terminal::on(meter("50001234567878"), Peer::secured(secured)).whole_communication();
    place.authority.connect(place.door(), None, &[&TLS13]).expect_err("the old one is gone");
    assert_eq!(stays.daily().result, 0, "who was connected stays connected");
}

/// More than may be under way at a time say nothing at all; a device is served all the same.
#[test]
fn silent_handshakes_keep_nobody_out() {
    let place = Place::new("");
    let silent: Vec<TcpStream> = (0..polymeter::limits::TLS_HANDSHAKES_MAX - 1)
        .map(|_| TcpStream::connect(place.door()).expect("a connection"))
        .collect();
    Terminal::on(meter("50001234567879"), place.peer()).whole_communication();
    drop(silent);
    wait_until("all of them are counted", || {
        (place.failures() == polymeter::limits::TLS_HANDSHAKES_MAX as u64 - 1).then_some(())
    });
}

#[test]
fn the_api_is_there_through_tls_too() {
    let (authority, files) = (Authority::default(), Scratch::new());
    put(&files.path(""), &authority.papers());
    let mut settings = Settings::usual();
    let (certificate, key) = (files.quoted("station.pem"), files.quoted("station.key"));
    settings.more = format!("[http.tls]\nbind = \"127.0.0.1:0\"\ncertificate = {certificate}\nkey = {key}");
    let mut site = Site::with(&settings);
    let told = std::fs::read_to_string(site.data().join("station.json")).expect("whereabouts");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let door: SocketAddr = told["https"].as_str().expect("an address").parse().expect("an address");
    let ask = |mut secured: Secured| {
        secured
            .write_all(b"GET /health HTTP/1.1\r\nhost: station.test\r\nconnection: close\r\n\r\n")
            .expect("a request");
        let mut answer = String::new();
        // What ends the connection is not what is looked at.
        let _ = secured.read_to_string(&mut answer);
        answer
    };
    // Somebody who says nothing at all stands in nobody's way.
    let silent = TcpStream::connect(door).expect("a connection");
    let answer = ask(authority.connect(door, None, &[&TLS13]).expect("a handshake"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"status\":\"ok\""), "{answer}");
    drop(silent);
    assert_eq!(site.get("station")["health"]["status"], "ok", "and without it for the command line");
    site.stop().expect("a station that stops");
}

#[test]
fn files_that_cannot_serve_are_named_with_a_remedy() {
    let (authority, files) = (Authority::default(), Scratch::new());
    let (one, other) = (authority.papers(), authority.papers());
    put(&files.path(""), &one);
    std::fs::write(files.path("other.key"), &other.key).expect("a file");
    std::fs::write(files.path("empty.pem"), "").expect("a file");
    for (certificate, key, says) in [
        ("missing.pem", "station.key", "check the path, and that the station may read it"),
        ("station.pem", "station.pem", "no private key in it"),
        ("empty.pem", "station.key", "no certificate in it"),
        ("station.pem", "other.key", "the key must be that of the first certificate"),
    ] {
        let files = polymeter::link::tls::Files {
            certificate: files.path(certificate),
            key: files.path(key),
            clients: None,
            oldest: polymeter::link::tls::Oldest::default(),
        };
        let error = polymeter::link::Identity::open(files).err().expect(says).to_string();
        assert!(error.contains(says) && (error.contains(certificate) || error.contains(key)), "{error}");
    }
}
