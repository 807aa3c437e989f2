//! A device's socket: blocking, with patience, and without any protocol.

use crate::authority::Secured;
use crate::broker::Gateway;
use crate::coap::CoapSocket;
use crate::site::PATIENCE;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

enum Link {
    Stream(TcpStream),
    Secured(Box<Secured>),
    Datagrams(UdpSocket),
    Coap(Box<CoapSocket>),
    Mqtt(Box<Gateway>),
}

/// One end of a conversation.
pub struct Peer {
    link: Link,
    received: Vec<u8>,
}

impl Peer {
    pub fn tcp(station: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&station, PATIENCE).expect("a station that accepts");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Self { link: Link::Stream(stream), received: Vec::new() }
    }

    /// On a TLS connection.
    pub fn secured(secured: Secured) -> Self {
        Self { link: Link::Secured(Box::new(secured)), received: Vec::new() }
    }

    /// Each write is a confirmable POST; what comes is an answer to one, or a POST of the station.
    pub fn coap(socket: CoapSocket) -> Self {
        Self { link: Link::Coap(Box::new(socket)), received: Vec::new() }
    }

    /// Each write is a message to the gateway's topic.
    pub fn mqtt(gateway: Gateway) -> Self {
        Self { link: Link::Mqtt(Box::new(gateway)), received: Vec::new() }
    }

    /// The CoAP end of it.
    pub fn as_coap(&mut self) -> &mut CoapSocket {
        match &mut self.link {
            Link::Coap(socket) => socket,
            _ => panic!("not on CoAP"),
        }
    }

    pub fn udp(station: SocketAddr) -> Self {
        Self::udp_from("127.0.0.1:0", station)
    }

    /// From an address of its own, such as `127.0.0.2:0`.
    pub fn udp_from(own: &str, station: SocketAddr) -> Self {
        let socket = UdpSocket::bind(own).expect("a free port");
        socket.connect(station).expect("a peer");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Self { link: Link::Datagrams(socket), received: Vec::new() }
    }

    /// One write, one datagram.
    pub fn send(&mut self, bytes: &[u8]) {
        assert!(self.try_send(bytes), "the station has closed");
    }

    /// `false`: the connection is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        match &mut self.link {
            Link::Stream(stream) => stream.write_all(bytes).is_ok(),
            Link::Secured(secured) => secured.write_all(bytes).and_then(|()| secured.flush()).is_ok(),
            Link::Datagrams(socket) => socket.send(bytes).is_ok(),
            Link::Coap(socket) => socket.post(bytes).is_ok(),
            Link::Mqtt(gateway) => gateway.publish(bytes).is_ok(),
        }
    }

    /// The next frame, as `cut` finds its length; `None`: the station has closed.
    pub fn next(&mut self, cut: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = cut(&self.received).filter(|n| *n > 0 && *n <= self.received.len()) {
                return Some(self.received.drain(..length).collect());
            }
            let mut chunk = [0; 4096];
            let read = match &mut self.link {
                Link::Stream(stream) => stream.read(&mut chunk),
                Link::Secured(secured) => secured.read(&mut chunk),
                Link::Datagrams(socket) => socket.recv(&mut chunk),
                Link::Coap(socket) => socket.receive().map(|payload| append(&mut self.received, &payload)),
                Link::Mqtt(gateway) => gateway.receive(PATIENCE).map(|payload| append(&mut self.received, &payload)),
            };
            match read {
                Ok(_) if matches!(self.link, Link::Coap(_) | Link::Mqtt(_)) => {}
                Ok(0) => return None,
                Ok(n) => self.received.extend_from_slice(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return None,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the station said nothing for {PATIENCE:?}")
                }
                Err(e) => panic!("receiving failed: {e}"),
            }
        }
    }

    /// Reads until the station closes; gives what it still said.
    pub fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.received);
        let read = match &mut self.link {
            Link::Stream(stream) => stream.read_to_end(&mut rest),
            Link::Secured(secured) => secured.read_to_end(&mut rest),
            _ => panic!("a datagram socket is never closed by the other end"),
        };
        match read {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
            Err(e) => panic!("the station did not close: {e}"),
        }
        rest
    }

    /// Whether the station has said something, or closed, by now. Used only to see that nothing has happened after
    /// something else has.
    pub fn is_quiet(&mut self) -> bool {
        let Link::Stream(stream) = &mut self.link else { panic!("only for streams") };
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket option");
        let peeked = stream.peek(&mut [0]);
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        self.received.is_empty()
            && peeked.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Says that nothing more comes, and waits for the station to have read everything.
    pub fn finish(mut self) {
        if let Link::Stream(stream) = &self.link {
            // The station may have closed already.
            let _ = stream.shutdown(Shutdown::Write);
            self.until_closed();
        }
    }
}

fn append(received: &mut Vec<u8>, bytes: &[u8]) -> usize {
    received.extend_from_slice(bytes);
    bytes.len()
}
