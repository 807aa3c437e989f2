//! Garbage on the API's socket: requests cut, bent and blown up, with and without a token.

use super::bytes::Damage;
use polymeter_tests::site::{PATIENCE, Site};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// Past the largest body that the API takes.
const BODY_BYTES: usize = 2 * 1024 * 1024;
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Nothing may be answered as the station's own fault, and each connection ends.
pub fn throw(site: &Site, seed: u64, requests: usize) {
    let http = site.http().expect("an address").to_owned();
    for number in 0..requests {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        let request = draw(site.token(), number, &mut rng);
        let mut stream = TcpStream::connect(&http).expect("a station that accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        // It may close before it has read a request that it refuses.
        let _ = stream.write_all(&request);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("request {number} of seed {seed} is neither answered nor closed")
            }
            _ => {}
        }
        let text = String::from_utf8_lossy(&answer);
        let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        let status: u16 = status.map_or(0, |code| code.parse().expect("a status"));
        assert!(status < 500, "request {number} of seed {seed}: {text}");
    }
}

fn draw(token: &str, number: usize, rng: &mut StdRng) -> Vec<u8> {
    let whole = whole(token, rng);
    match Damage::ALL[number % Damage::ALL.len()] {
        Damage::Truncated => whole[..rng.random_range(0..whole.len())].to_vec(),
        Damage::Flipped => {
            let mut bytes = whole;
            for _ in 0..rng.random_range(1..=8) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            bytes
        }
        Damage::Spliced => {
            let (head, tail) = (rng.random_range(0..whole.len()), rng.random_range(0..whole.len()));
            [&whole[..head], &whole[tail..]].concat()
        }
        Damage::Random => {
            let mut bytes = vec![0; rng.random_range(0..4_096)];
            rng.fill_bytes(&mut bytes);
            bytes
        }
        Damage::Oversized => oversized(token, rng),
    }
}

fn whole(token: &str, rng: &mut StdRng) -> Vec<u8> {
    let body = r#"{"device":"usp/1","command":{"valve":{"order":"close-forced"}},"note":"none"}"#;
    let requests = [
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("GET /api/v1/devices?limit=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!(
            "GET /api/v1/devices/usp/1/frames?after=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        ),
        format!(
            "POST /api/v1/commands HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    ];
    requests[rng.random_range(0..requests.len())].clone().into_bytes()
}

/// A header without end, a body past the limit, one that is promised and does not come, one nested a thousand deep.
fn oversized(token: &str, rng: &mut StdRng) -> Vec<u8> {
    let head = |length: usize| {
        format!(
            "POST /api/v1/commands HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    match rng.random_range(0..4) {
        0 => format!("GET /{} HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(500), "b".repeat(1 << 20)).into_bytes(),
        1 => [head(BODY_BYTES).into_bytes(), vec![b' '; BODY_BYTES]].concat(),
        2 => head(usize::MAX).into_bytes(),
        _ => [head(100_000).into_bytes(), vec![b'['; 100_000]].concat(),
    }
}
