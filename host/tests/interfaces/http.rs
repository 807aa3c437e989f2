//! The door: whatever comes in, it stays open for the others.

use crate::served::Served;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[test]
fn rubbish_and_silence_do_not_keep_others_out() {
    let served = Served::start();
    let address = served.station().http();
    // As many silent connections of one address as fit into half of its room.
    let silent: Vec<TcpStream> = (0..polymeter::limits::HTTP_CONNECTIONS_OF_PEER_MAX / 2)
        .map(|_| TcpStream::connect(address).expect("connects"))
        .collect();
    for bytes in [&b"\x68\x01\x02\x16"[..], b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nhost"] {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.write_all(bytes).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    assert_eq!(served.ask("GET", "/health", None, None).0, 200);
    drop(silent);
}
