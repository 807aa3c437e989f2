//! How damage gets to the station: plain and secured streams, datagrams, CoAP requests, messages through a broker.

use super::prober::Case;
use fleet::station::Listener;
use polymeter_tests::authority::{Authority, Secured};
use polymeter_tests::broker::{Gateway, Mosquitto};
use polymeter_tests::coap::CoapSocket;
use polymeter_tests::peer::Peer;
use polymeter_tests::scratch::Scratch;
use polymeter_tests::site::{PATIENCE, Site};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use tokio_rustls::rustls::version::TLS13;

/// What listeners need beyond an address.
pub struct Carriers {
    authority: Authority,
    files: Scratch,
    broker: Mosquitto,
}

/// A connection, whatever secures it.
pub enum Stream {
    Plain(TcpStream),
    Secured(Box<Secured>),
}

/// Pieces that come whole, whatever carries them.
pub enum Letters {
    Datagrams(UdpSocket),
    Coap(Box<CoapSocket>),
    Mqtt(Box<Gateway>, Duration),
}

impl Carriers {
    pub fn new() -> Self {
        let (authority, files) = (Authority::default(), Scratch::new());
        let papers = authority.papers();
        files.write("station.pem", papers.certificate.as_bytes());
        files.write("station.key", papers.key.as_bytes());
        Self { authority, files, broker: Mosquitto::default() }
    }

    /// The transport is the last part of the name.
    pub fn listener(&self, name: &str, adapters: &str) -> Listener {
        let mut listener = match name.rsplit('-').next() {
            Some("tls") => Listener::on("tls", name, adapters),
            Some("udp") => Listener::on("udp", name, adapters),
            Some("coap") => Listener::on("coap", name, adapters),
            Some("mqtt") => Listener::on("mqtt", name, adapters),
            _ => Listener::tcp(name, adapters),
        };
        listener.more = match listener.transport {
            "tls" => {
                let (certificate, key) = (self.files.quoted("station.pem"), self.files.quoted("station.key"));
                format!("[listener.tls]\ncertificate = {certificate}\nkey = {key}")
            }
            "mqtt" => {
                let broker = self.broker.address();
                let (up, down) = ("gateways/{gateway}/meters/{device}/up", "gateways/{gateway}/meters/{device}/down");
                format!("[listener.mqtt]\nbroker = \"{broker}\"\nup = \"{up}\"\ndown = \"{down}\"")
            }
            _ => String::new(),
        };
        listener
    }

    pub fn broker(&self) -> SocketAddr {
        self.broker.address()
    }

    pub fn stream(&self, site: &Site, case: &Case) -> Stream {
        let plain = connect(case.address(), door(site, case.door));
        if !case.door.ends_with("tls") {
            return Stream::Plain(plain);
        }
        Stream::Secured(Box::new(self.authority.secure(plain, None, &[&TLS13]).expect("a handshake")))
    }

    pub fn letters(&self, site: &Site, case: &Case) -> Letters {
        let own = SocketAddr::from((case.address(), 0));
        match case.door.rsplit('-').next() {
            Some("mqtt") => {
                let name = format!("case-{}", case.number);
                let gateway = Gateway::new(self.broker.address(), &name, &case.topic("up"), &case.topic("down"));
                Letters::Mqtt(Box::new(gateway), PATIENCE)
            }
            Some("coap") => Letters::Coap(Box::new(CoapSocket::from_address(own, door(site, case.door)))),
            _ => {
                let socket = UdpSocket::bind(own).expect("a port");
                socket.connect(door(site, case.door)).expect("a station");
                Letters::Datagrams(socket)
            }
        }
    }

    /// A good device's end.
    pub fn peer(&self, site: &Site, name: &str, device: &str) -> Peer {
        match name.rsplit('-').next() {
            Some("mqtt") => {
                let topic = |end: &str| format!("gateways/g/meters/{device}/{end}");
                Peer::mqtt(Gateway::new(self.broker.address(), device, &topic("up"), &topic("down")))
            }
            Some("coap") => Peer::coap(CoapSocket::to(door(site, name))),
            Some("tls") => {
                Peer::secured(self.authority.connect(door(site, name), None, &[&TLS13]).expect("a handshake"))
            }
            Some("udp") => Peer::udp(door(site, name)),
            _ => Peer::tcp(door(site, name)),
        }
    }
}

fn door(site: &Site, name: &str) -> SocketAddr {
    site.door(name).expect("a listener")
}

impl Stream {
    pub fn patience(&mut self, patience: Duration) {
        self.socket().set_read_timeout(Some(patience)).expect("an option");
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        if let Self::Secured(secured) = self {
            secured.conn.send_close_notify();
            let _ = secured.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secured(secured) => &secured.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Secured(secured) => secured.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secured(secured) => {
                let written = secured.write(bytes)?;
                secured.flush().map(|()| written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Letters {
    pub fn patience(&mut self, patience: Duration) {
        match self {
            Self::Datagrams(socket) => socket.set_read_timeout(Some(patience)).expect("an option"),
            Self::Coap(socket) => socket.patience(patience),
            Self::Mqtt(_, own) => *own = patience,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Datagrams(socket) => socket.send(bytes).map(drop).expect("a datagram"),
            Self::Coap(socket) => {
                let request = socket.request(coap_lite::MessageType::Confirmable, bytes);
                socket.say(&request).expect("a datagram");
            }
            Self::Mqtt(gateway, _) => gateway.publish(bytes).expect("a message"),
        }
    }

    /// What comes soon.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Datagrams(socket) => {
                let mut chunk = [0; 4_096];
                let bytes = socket.recv(&mut chunk).ok()?;
                Some(chunk[..bytes].to_vec())
            }
            Self::Coap(socket) => socket.receive().ok(),
            Self::Mqtt(gateway, patience) => gateway.receive(*patience).ok(),
        }
    }
}

fn connect(from: Ipv4Addr, station: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.bind(&SockAddr::from(SocketAddr::from((from, 0)))).expect("a loopback address");
    socket.connect_timeout(&station.into(), PATIENCE).expect("a station that accepts");
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("an option");
    stream
}
