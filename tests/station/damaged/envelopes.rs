//! Damage around frames, not in them: bent CoAP messages, handshakes that are none, documents that end too soon. Nobody is
//! kept out by it, and nothing grows.

use super::bytes::Corpus;
use super::carriers::Carriers;
use super::{ADAPTERS, GROWTH_KIB_MAX, SEED, from_environment, memory_kib};
use coap_lite::MessageType;
use fleet::station::Settings;
use polymeter_tests::broker::Gateway;
use polymeter_tests::coap::CoapSocket;
use polymeter_tests::qianwei::QianweiMeter;
use polymeter_tests::site::{Site, wait_until};
use qianwei_7xxx::device::Meter;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

const DATAGRAMS: usize = 4_000;
const HANDSHAKES: usize = 300;
const DOCUMENTS: usize = 1_000;

#[test]
fn damaged_envelopes_keep_nobody_out() {
    let seed = from_environment("SEED").unwrap_or(SEED);
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let carriers = Carriers::new();
    let mut settings = Settings::usual();
    let both = r#""usp", "qianwei_7xxx""#;
    settings.listeners = ["both-tls", "both-coap", "both-mqtt"].map(|name| carriers.listener(name, both)).into();
    settings.listeners[2].more.push_str("\npayload = { json = \"/data\", encoding = \"hex\" }");
    let mut site = Site::with(&settings);
    greet(&site, &carriers, 1);
    let before_kib = memory_kib(&site);
    let corpus = Corpus::of(&ADAPTERS);
    let frames: Vec<&Vec<u8>> = corpus.frames().collect();
    datagrams(site.door("both-coap").expect("a listener"), &frames, &mut rng);
    handshakes(site.door("both-tls").expect("a listener"), &mut rng);
    let unreadable = documents(&carriers, &frames, &mut rng);
    wait_until("all documents are heard", || (heard(&site) >= unreadable).then_some(()));
    greet(&site, &carriers, 2);
    let grown_kib = memory_kib(&site).saturating_sub(before_kib);
    println!("memory {grown_kib} KiB more, {unreadable} documents");
    assert!(grown_kib <= GROWTH_KIB_MAX, "{grown_kib} KiB more than before");
    assert_eq!(site.client().text("/health").expect("an answer").0, 200);
    site.stop().expect("a station that stops");
    let log = std::fs::read_to_string(site.log_file()).expect("a log");
    assert!(!log.contains("panicked"), "{log}");
}

fn greet(site: &Site, carriers: &Carriers, round: usize) {
    for (place, name) in ["both-tls", "both-coap"].into_iter().enumerate() {
        let number = round * 10 + place;
        let peer = carriers.peer(site, name, &format!("good-{number}"));
        let mut meter = QianweiMeter::on(Meter::plain(&format!("5{number:019}")), peer);
        assert_eq!(meter.report(), (0, false), "{name}");
    }
}

/// Pieces of good bytes, bent.
fn bent(mut bytes: Vec<u8>, rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..4) {
        0 => bytes.truncate(rng.random_range(0..=bytes.len())),
        1 => {
            let at = rng.random_range(0..=bytes.len());
            bytes.insert(at, rng.random());
        }
        _ => {
            for _ in 0..rng.random_range(1..=6) {
                let at = rng.random_range(0..bytes.len().min(40));
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
        }
    }
    bytes
}

fn datagrams(station: SocketAddr, frames: &[&Vec<u8>], rng: &mut StdRng) {
    let mut coap = CoapSocket::to(station);
    for number in 0..DATAGRAMS {
        let frame = frames[rng.random_range(0..frames.len())];
        let mut request = coap.request(MessageType::Confirmable, &frame[..frame.len().min(1_024)]);
        if number % 3 == 0 {
            let block = rng.random::<u32>().to_be_bytes()[..rng.random_range(0..4)].to_vec();
            request.add_option(coap_lite::CoapOption::Block1, block);
        }
        let bytes = bent(request.to_bytes_unlimited().expect("a message"), rng);
        // The kernel may be full for a moment; that piece is then lost like any other.
        let _ = coap.say_bytes(&bytes);
        if number % 50 == 0 {
            // What the station says of it is taken off, so that neither side's buffer is all that is tested.
            coap.patience(std::time::Duration::from_millis(5));
            while coap.receive_bytes().is_ok() {}
        }
    }
}

fn handshakes(station: SocketAddr, rng: &mut StdRng) {
    for _ in 0..HANDSHAKES {
        let mut stream = TcpStream::connect(station).expect("a station that accepts");
        let mut bytes = vec![0; rng.random_range(0..2_000)];
        rng.fill_bytes(&mut bytes);
        if rng.random_bool(0.7) && bytes.len() > 5 {
            // A record of a handshake, as long as it says or not.
            let length = if rng.random_bool(0.5) { bytes.len() as u16 - 5 } else { rng.random() };
            bytes[..5].copy_from_slice(&[0x16, 3, 1, (length >> 8) as u8, length as u8]);
            bytes[5..].iter_mut().take(1).for_each(|kind| *kind = 1);
        }
        // It may have closed by then.
        let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// Gives how many were published.
fn documents(carriers: &Carriers, frames: &[&Vec<u8>], rng: &mut StdRng) -> usize {
    let gateway = Gateway::new(carriers.broker(), "damage", "gateways/g/meters/d/up", "none");
    for _ in 0..DOCUMENTS {
        let frame = frames[rng.random_range(0..frames.len())];
        let document = format!(r#"{{"data":"{}","fPort":10}}"#, hex::encode(frame));
        gateway.publish(&bent(document.into_bytes(), rng)).expect("a message");
    }
    gateway.await_taken(DOCUMENTS);
    DOCUMENTS
}

fn heard(site: &Site) -> usize {
    let text = site.client().text("/metrics").expect("metrics").1;
    let line =
        text.lines().find(|line| line.starts_with("polymeter_mqtt_messages_total") && line.contains("\"heard\""));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}
