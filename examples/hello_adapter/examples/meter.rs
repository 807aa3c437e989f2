//! A simulated meter that reports to a station: `cargo run --example meter -- tcp:127.0.0.1:7001 12345678`.

use hello_adapter::device::Device;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let station = arguments.next().ok_or("say where the station listens: tcp:HOST:PORT or udp:HOST:PORT")?;
    let number = arguments.next().map_or(Ok(12_345_678), |text| text.parse())?;
    let meter = Device { number, total: 123_456 };
    let report = meter.report().ok_or("a number has at most 8 digits")?;
    let answer = match station.split_once(':') {
        Some(("tcp", address)) => over_tcp(address, &report)?,
        Some(("udp", address)) => over_udp(address, &report)?,
        _ => return Err("write tcp:HOST:PORT or udp:HOST:PORT".into()),
    };
    if !meter.hears(&answer) {
        return Err(format!("the station answered {answer:02x?}").into());
    }
    println!("meter {number:08} has reported");
    Ok(())
}

fn over_tcp(address: &str, report: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut station = TcpStream::connect(address)?;
    station.set_read_timeout(Some(PATIENCE))?;
    station.write_all(report)?;
    let mut answer = [0; 2];
    station.read_exact(&mut answer)?;
    Ok(answer.to_vec())
}

fn over_udp(address: &str, report: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(report)?;
    let mut answer = [0; 64];
    let bytes = socket.recv(&mut answer)?;
    Ok(answer[..bytes].to_vec())
}
