//! A real broker, and gateways that publish to it.
//!
//! The broker is `mosquitto`, a process of the test's own on a free port, ended by its number. `make setup` installs it.

use crate::scratch::Scratch;
use crate::site::{PATIENCE, wait_until};
use rumqttc::{Client, Event, MqttOptions, Outgoing, Packet, QoS};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

pub struct Mosquitto {
    directory: Scratch,
    port: u16,
    child: Option<Child>,
}

impl Default for Mosquitto {
    fn default() -> Self {
        Self::with("allow_anonymous true")
    }
}

impl Mosquitto {
    /// With these lines in its configuration.
    pub fn with(lines: &str) -> Self {
        let directory = Scratch::new();
        let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = probe.local_addr().expect("an address").port();
        // As root it would become somebody who may not read this directory.
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let at = directory.path("").display().to_string();
        let config = format!(
            "listener {port} 127.0.0.1\n{user}persistence true\npersistence_location {at}/\nmax_queued_messages 0\n{}\n",
            lines.replace("DIR", &at)
        );
        directory.write("mosquitto.conf", config.as_bytes());
        let mut broker = Self { directory, port, child: None };
        // It must be there, though nobody is in it yet.
        broker.directory.write("users", b"");
        drop(probe);
        broker.start();
        broker
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn start(&mut self) {
        let log = std::fs::File::create(self.directory.path("log")).expect("a file");
        let programs = ["mosquitto", "/usr/sbin/mosquitto"];
        let child = programs.iter().find_map(|program| {
            let mut command = Command::new(program);
            let log = log.try_clone().expect("a file");
            command.arg("-c").arg(self.directory.path("mosquitto.conf"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().ok()
        });
        self.child = Some(child.expect("mosquitto is not installed; run `make setup`"));
        wait_until("the broker listens", || TcpStream::connect(self.address()).ok());
    }

    /// Writes the user's password where the configuration says `DIR/users`.
    pub fn allow(&self, user: &str, password: &str) {
        let made = Command::new("mosquitto_passwd")
            .args(["-c", "-b"])
            .arg(self.directory.path("users"))
            .args([user, password])
            .status();
        assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd comes with mosquitto");
    }

    /// Ends as it would with its machine, and keeps what it has been told to keep.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = child.wait();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client of the broker with one topic to publish to and one to hear.
pub struct Gateway {
    client: Client,
    heard: Receiver<Heard>,
    up: String,
}

enum Heard {
    Message(Vec<u8>),
    Acknowledged,
    Subscribed,
}

impl Gateway {
    pub fn new(broker: SocketAddr, name: &str, up: &str, down: &str) -> Self {
        let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
        options.set_keep_alive(PATIENCE).set_max_packet_size(1 << 20, 1 << 23);
        let (client, mut connection) = Client::new(options, 1_024);
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let told = match event {
                    Ok(Event::Incoming(Packet::Publish(message))) => Heard::Message(message.payload.to_vec()),
                    Ok(Event::Incoming(Packet::PubAck(_))) => Heard::Acknowledged,
                    Ok(Event::Incoming(Packet::SubAck(_))) => Heard::Subscribed,
                    Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
                    Ok(_) => continue,
                    // The broker is away for a moment.
                    Err(_) => {
                        std::thread::sleep(Duration::from_millis(50));
                        continue;
                    }
                };
                if sender.send(told).is_err() {
                    return;
                }
            }
        });
        client.subscribe(down, QoS::AtLeastOnce).expect("a request");
        let gateway = Self { client, heard, up: up.into() };
        assert!(matches!(gateway.heard.recv_timeout(PATIENCE), Ok(Heard::Subscribed)), "the broker answers");
        gateway
    }

    pub fn publish(&self, payload: &[u8]) -> io::Result<()> {
        self.publish_to(&self.up, payload)
    }

    pub fn publish_to(&self, topic: &str, payload: &[u8]) -> io::Result<()> {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).map_err(io::Error::other)
    }

    pub fn publish_retained(&self, payload: &[u8]) -> io::Result<()> {
        self.client.publish(&self.up, QoS::AtLeastOnce, true, payload).map_err(io::Error::other)
    }

    /// Waits until the broker has taken so many messages.
    pub fn await_taken(&self, messages: usize) {
        let mut taken = 0;
        while taken < messages {
            match self.heard.recv_timeout(PATIENCE) {
                Ok(Heard::Acknowledged) => taken += 1,
                Ok(_) => {}
                Err(error) => panic!("{taken} of {messages} taken: {error}"),
            }
        }
    }

    /// The next message on the topic that is heard.
    pub fn receive(&self, patience: Duration) -> io::Result<Vec<u8>> {
        loop {
            match self.heard.recv_timeout(patience) {
                Ok(Heard::Message(payload)) => return Ok(payload),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.client.try_disconnect();
    }
}
