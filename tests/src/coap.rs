//! A device's end of CoAP: requests, their answers, and what the station posts of its own.

use crate::site::PATIENCE;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Bodies longer than this go in blocks.
const BLOCK_BYTES: usize = 1_024;

pub struct CoapSocket {
    socket: UdpSocket,
    next: u16,
    /// Datagrams of requests, as they were sent.
    pub sent: Vec<Vec<u8>>,
    /// Answers as they came, and requests of the station.
    pub heard: Vec<Packet>,
    /// Payloads that nobody has taken yet.
    waiting: VecDeque<Vec<u8>>,
}

impl CoapSocket {
    pub fn to(station: SocketAddr) -> Self {
        Self::from_address("127.0.0.1:0".parse().expect("an address"), station)
    }

    pub fn from_address(own: SocketAddr, station: SocketAddr) -> Self {
        let socket = UdpSocket::bind(own).expect("a port");
        socket.connect(station).expect("a station");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        Self { socket, next: 1, sent: Vec::new(), heard: Vec::new(), waiting: VecDeque::new() }
    }

    pub fn patience(&self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).expect("an option");
    }

    /// The next request, not sent yet.
    pub fn request(&mut self, kind: MessageType, payload: &[u8]) -> Packet {
        let mut packet = Packet::new();
        packet.header.set_type(kind);
        packet.header.code = MessageClass::Request(RequestType::Post);
        packet.header.message_id = self.next;
        packet.set_token(self.next.to_be_bytes().to_vec());
        packet.add_option(CoapOption::UriPath, b"report".to_vec());
        packet.payload = payload.to_vec();
        self.next = self.next.wrapping_add(1);
        packet
    }

    pub fn say(&mut self, packet: &Packet) -> io::Result<()> {
        let bytes = packet.to_bytes_unlimited().expect("a message");
        self.socket.send(&bytes)?;
        self.sent.push(bytes);
        Ok(())
    }

    pub fn say_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes).map(drop)
    }

    /// A confirmable POST; in blocks if it is long.
    pub fn post(&mut self, payload: &[u8]) -> io::Result<()> {
        if payload.len() <= BLOCK_BYTES {
            let packet = self.request(MessageType::Confirmable, payload);
            return self.say(&packet);
        }
        self.post_in_blocks(payload, 6)
    }

    /// Blocks of 2^(size+4) bytes; all but the last are answered when this returns.
    pub fn post_in_blocks(&mut self, payload: &[u8], size: u8) -> io::Result<()> {
        let blocks: Vec<&[u8]> = payload.chunks(1 << (size + 4)).collect();
        for (number, block) in blocks.iter().enumerate() {
            let more = number + 1 < blocks.len();
            let mut packet = self.request(MessageType::Confirmable, block);
            let value = (number as u16) << 4 | u16::from(more) << 3 | u16::from(size);
            packet.add_option(CoapOption::Block1, value.to_be_bytes().to_vec());
            self.say(&packet)?;
            if more {
                let answer = self.next_message()?;
                assert_eq!(answer.header.code, MessageClass::Response(ResponseType::Continue), "{answer:?}");
            }
        }
        Ok(())
    }

    /// The next datagram, whatever it is.
    pub fn receive_bytes(&self) -> io::Result<Vec<u8>> {
        let mut chunk = [0; 4_096];
        let bytes = self.socket.recv(&mut chunk)?;
        Ok(chunk[..bytes].to_vec())
    }

    /// The next message, whatever it is.
    pub fn next_message(&mut self) -> io::Result<Packet> {
        let mut chunk = [0; 4_096];
        let bytes = self.socket.recv(&mut chunk)?;
        Ok(Packet::from_bytes(&chunk[..bytes]).expect("the station speaks CoAP"))
    }

    /// The next payload for the device; what has to be acknowledged is.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        while self.waiting.is_empty() {
            let packet = self.next_message()?;
            if packet.header.get_type() == MessageType::Confirmable {
                let mut answer = Packet::new();
                answer.header.set_type(MessageType::Acknowledgement);
                answer.header.message_id = packet.header.message_id;
                answer.header.code = match packet.header.code {
                    MessageClass::Request(_) => MessageClass::Response(ResponseType::Changed),
                    _ => MessageClass::Empty,
                };
                if answer.header.code != MessageClass::Empty {
                    answer.set_token(packet.get_token().to_vec());
                }
                self.socket.send(&answer.to_bytes().expect("a message"))?;
            }
            if !packet.payload.is_empty() {
                self.waiting.push_back(packet.payload.clone());
            }
            self.heard.push(packet);
        }
        Ok(self.waiting.pop_front().unwrap_or_default())
    }
}
