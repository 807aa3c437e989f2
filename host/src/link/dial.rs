//! The other end of a connection, for whoever plays a device: blocking, one frame after the other.

use crate::limits;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A device's socket.
#[derive(Debug)]
pub enum Dialled {
    Stream(TcpStream),
    Datagram(UdpSocket),
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Bytes(Vec<u8>),
    /// Nothing within the time given.
    Silence,
    Closed,
}

impl Dialled {
    pub fn stream(station: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&station, limits::WRITE_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limits::WRITE_TIMEOUT))?;
        Ok(Self::Stream(stream))
    }

    pub fn datagram(station: SocketAddr) -> io::Result<Self> {
        let own = if station.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(own)?;
        socket.connect(station)?;
        Ok(Self::Datagram(socket))
    }

    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(frame),
            Self::Datagram(socket) => socket.send(frame).map(drop),
        }
    }

    /// What comes within `wait`, in one read.
    pub fn receive(&mut self, wait: Duration) -> io::Result<Answer> {
        let mut buffer = vec![0; limits::FRAME_BYTES_MAX];
        let read = match self {
            Self::Stream(stream) => stream.set_read_timeout(Some(wait)).and_then(|()| stream.read(&mut buffer)),
            Self::Datagram(socket) => socket.set_read_timeout(Some(wait)).and_then(|()| socket.recv(&mut buffer)),
        };
        match read {
            Ok(0) if matches!(self, Self::Stream(_)) => Ok(Answer::Closed),
            Ok(bytes) => {
                buffer.truncate(bytes);
                Ok(Answer::Bytes(buffer))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Answer::Silence),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Answer::Closed),
                _ => Err(error),
            },
        }
    }
}
