//! A unit on a board that can lose power, and a station behind a network that can fail. The station is the real adapter.

use polymeter_sdk::keys::store;
use polymeter_sdk::{
    Adapter, Admission, Answer, Command, Context, Device, Direction, EndReason, Message, Report, Transport, civil,
};
use usp::Usp;
use wtcu::{
    Action, Algorithm, Board, Civil, Event, IMAGE_BYTES, Identity, Input, Metrology, Motion, Reading, Storage, Suite,
    Terminal, Text, Upgrade, Valve, Wtcu,
};

pub const ADDRESS: &str = "50001234567810";
const PACKED: [u8; 7] = [0x50, 0x00, 0x12, 0x34, 0x56, 0x78, 0x10];
pub const KEY: [u8; 16] = [0x11; 16];

/// 2024-03-14 12:00:00, half a day before the first slot at 00:20.
pub fn start() -> Civil {
    civil::time(2024, 3, 14, 12, 0, 0).expect("exists")
}

pub fn midnight(day: i64) -> Civil {
    civil::midnight(start()) + day * civil::DAY
}

/// Total at a moment, 0.01 m³: one a minute.
pub fn total(at: Civil) -> u32 {
    ((at - midnight(0)) / 60 + 100_000) as u32
}

/// Memory, meter and valve. Survives what the unit's RAM does not.
pub struct Bench {
    pub images: [Option<Vec<u8>>; 2],
    pub closed: bool,
    /// How often the motor was started.
    pub motions: u32,
    pub stores: u32,
    /// The store at which power fails, in the middle of writing.
    pub fails_at: Option<u32>,
    pub storage_broken: bool,
}

impl Storage for Bench {
    fn load(&mut self, place: usize, image: &mut [u8]) -> bool {
        let Some(kept) = &self.images[place] else { return false };
        image.copy_from_slice(kept);
        true
    }
    fn store(&mut self, place: usize, image: &[u8]) -> bool {
        assert_eq!(image.len(), IMAGE_BYTES);
        if self.storage_broken {
            return false;
        }
        self.stores += 1;
        if self.fails_at.is_some_and(|at| self.stores >= at) {
            // Half of it is new, half is old.
            let mut torn = self.images[place].clone().unwrap_or_else(|| vec![0xFF; IMAGE_BYTES]);
            torn[..IMAGE_BYTES / 2].copy_from_slice(&image[..IMAGE_BYTES / 2]);
            self.images[place] = Some(torn);
            return false;
        }
        self.images[place] = Some(image.to_vec());
        true
    }
}
impl Metrology for Bench {
    fn reading(&mut self, at: Civil) -> Reading {
        Reading { working: Some(total(at)), standard: None }
    }
}
impl Valve for Bench {
    fn is_closed(&mut self) -> Option<bool> {
        Some(self.closed)
    }
}
impl Upgrade for Bench {}
impl Board for Bench {}

/// How the network and the station behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Net {
    Up,
    /// No modem, no cell.
    NoModem,
    /// The station cannot be reached.
    Refused,
    /// It can, and never answers.
    Mute,
    /// It says goodbye at once: come back later.
    Busy,
    /// It wants nothing of this device.
    NotAuthorised,
}

/// A station's desk for one device, through the real adapter.
pub struct Desk {
    adapter: Usp,
    memory: Vec<u8>,
    state: Vec<u8>,
    pub orders: Vec<Command>,
    pub reports: Vec<Report>,
    pub answers: Vec<Answer>,
    pub events: usize,
    pub heartbeats: usize,
    pub registrations: usize,
    /// Says no goodbye.
    pub keeps_line: bool,
}

pub struct Rig {
    pub unit: Wtcu,
    pub bench: Bench,
    pub desk: Desk,
    pub now: Civil,
    pub net: Net,
    pub random: u32,
    /// Times at which it connected.
    pub connected: Vec<Civil>,
    /// Actions that were done, for cutting the power after each.
    pub actions: u32,
    pub cut_after: Option<u32>,
    pub cuts: u32,
    queue: Vec<Vec<u8>>,
    keyed: bool,
}

/// What the unit has to do next, without borrowing it.
enum Next {
    Sleep(Civil),
    Receive(Civil),
    PowerUp,
    Connect,
    Send(Vec<u8>),
    Move(Motion),
    Clock(Civil),
    Disconnect,
}

fn terminal(keyed: bool, capabilities: u16) -> Terminal {
    let identity = Identity {
        vendor: 12,
        model: Text::new("QG2.5-NB"),
        hardware: Text::new("H1.0"),
        firmware: Text::new("01.02.03"),
        iccid: Text::new("89860419001870123456"),
        imei: Text::new("866123040012345"),
        capabilities,
    };
    let mut terminal = Terminal::new(1, PACKED, identity, 1);
    if keyed {
        terminal.set_key(Suite { algorithm: Algorithm::Aes128, version: 1 }, KEY);
    }
    terminal
}

impl Rig {
    pub fn new(keyed: bool) -> Self {
        Self::of(keyed, 0x0009)
    }

    pub fn of(keyed: bool, capabilities: u16) -> Self {
        store::clear();
        store::insert("1", KEY);
        store::insert("2", [0x22; 16]);
        let desk = Desk {
            adapter: Usp::configure("").expect("default profile"),
            memory: Vec::new(),
            state: Vec::new(),
            orders: Vec::new(),
            reports: Vec::new(),
            answers: Vec::new(),
            events: 0,
            heartbeats: 0,
            registrations: 0,
            keeps_line: false,
        };
        let bench =
            Bench { images: [None, None], closed: false, motions: 0, stores: 0, fails_at: None, storage_broken: false };
        Self {
            unit: Wtcu::new(terminal(keyed, capabilities)),
            bench,
            desk,
            now: start(),
            net: Net::Up,
            random: 77,
            connected: Vec::new(),
            actions: 0,
            cut_after: None,
            cuts: 0,
            queue: Vec::new(),
            keyed,
        }
    }

    /// Power goes and comes back: RAM is lost, what the board keeps is not.
    pub fn cut_power(&mut self) {
        let capabilities = self.unit.terminal.identity.capabilities;
        self.unit = Wtcu::new(terminal(self.keyed, capabilities));
        self.bench.fails_at = None;
        self.cut_after = None;
        self.cuts += 1;
        self.queue.clear();
    }

    fn poll(&mut self, input: Input<'_>) -> Next {
        // A number that others do not have.
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match self.unit.poll(input, self.now, self.random >> 8, &mut self.bench) {
            Action::SleepUntil(until) => Next::Sleep(until),
            Action::ReceiveUntil(until) => Next::Receive(until),
            Action::PowerUpModem => Next::PowerUp,
            Action::Connect(_) => Next::Connect,
            Action::Send(bytes) => Next::Send(bytes.to_vec()),
            Action::MoveValve(motion) => Next::Move(motion),
            Action::SetClock(to) => Next::Clock(to),
            Action::Disconnect => Next::Disconnect,
        }
    }

    /// Lives until this time.
    pub fn run_until(&mut self, end: Civil) {
        let mut next = self.poll(Input::Done);
        for _ in 0..200_000 {
            self.actions += 1;
            if self.cut_after.is_some_and(|at| self.actions > at) || self.lost_power() {
                self.cut_power();
                next = self.poll(Input::Done);
                continue;
            }
            next = match next {
                Next::Sleep(until) if until > end => {
                    self.now = end;
                    return;
                }
                Next::Sleep(until) => {
                    self.now = self.now.max(until);
                    self.poll(Input::Tick)
                }
                Next::Receive(until) => match self.queue.pop() {
                    Some(bytes) => self.poll(Input::Received(&bytes)),
                    None if until > end && until > self.now => {
                        self.now = end;
                        return;
                    }
                    None => {
                        self.now = self.now.max(until);
                        self.poll(Input::Tick)
                    }
                },
                Next::PowerUp => self.poll(if self.net == Net::NoModem { Input::Failed } else { Input::Done }),
                Next::Connect if self.net == Net::Refused => self.poll(Input::Failed),
                Next::Connect => {
                    self.connected.push(self.now);
                    self.desk.state.clear();
                    self.poll(Input::Done)
                }
                Next::Send(bytes) => {
                    self.now += 1;
                    self.station_hears(&bytes);
                    self.poll(Input::Done)
                }
                Next::Move(Motion::Close) => {
                    self.bench.motions += 1;
                    self.bench.closed = true;
                    self.now += 8;
                    self.poll(Input::Done)
                }
                Next::Clock(to) => {
                    self.now = to;
                    self.poll(Input::Done)
                }
                Next::Disconnect => {
                    self.queue.clear();
                    self.poll(Input::Done)
                }
            };
        }
        panic!("the unit never rests");
    }

    fn lost_power(&self) -> bool {
        self.bench.fails_at.is_some_and(|at| self.bench.stores >= at)
    }

    /// Something happens at the meter while it sleeps.
    pub fn event(&mut self, code: u8) {
        self.poll(Input::Done);
        let at = self.now;
        self.poll(Input::Event(Event { code, at, value: 0 }));
    }

    fn station_hears(&mut self, bytes: &[u8]) {
        let said = match self.net {
            Net::Mute => Vec::new(),
            Net::Busy => self.desk.farewell(self.now, EndReason::Busy),
            Net::NotAuthorised => self.desk.farewell(self.now, EndReason::NotAuthorised),
            _ => self.desk.hear(self.now, bytes),
        };
        // Taken from the end, one at a time.
        self.queue.extend(said.into_iter().rev());
    }
}

impl Desk {
    fn context(&self, now: Civil) -> Context {
        Context {
            now,
            direction: Direction::Uplink,
            transport: Transport::Stream,
            admission: Admission::Welcome,
            pending: self.orders.len() as u32,
            device: Some(Device { address: ADDRESS.into(), memory: self.memory.clone() }),
            state: self.state.clone(),
        }
    }

    fn encode(&mut self, now: Civil, command: &Command) -> Vec<Vec<u8>> {
        let encoded = self.adapter.encode(&self.context(now), command).expect("the command fits");
        self.memory = encoded.memory.unwrap_or(std::mem::take(&mut self.memory));
        encoded.frames
    }

    fn farewell(&mut self, now: Civil, reason: EndReason) -> Vec<Vec<u8>> {
        self.encode(now, &Command::EndSession(reason))
    }

    /// What the station says to this: the reply, and the next order or a goodbye.
    fn hear(&mut self, now: Civil, frame: &[u8]) -> Vec<Vec<u8>> {
        let decoded = self.adapter.decode(&self.context(now), frame).unwrap_or_else(|f| panic!("{}", f.detail));
        self.state = decoded.state.unwrap_or(std::mem::take(&mut self.state));
        self.memory = decoded.memory.unwrap_or(std::mem::take(&mut self.memory));
        let mut said: Vec<Vec<u8>> = decoded.reply.into_iter().collect();
        let mut is_over = false;
        for message in decoded.messages {
            match message {
                Message::Report(report) => {
                    // The total that comes with a registration is no report.
                    is_over |= !report.series.is_empty() || report.registers.len() > 1;
                    self.reports.push(report);
                }
                Message::Answer(answer) => {
                    is_over |= !answer.more_follows;
                    self.answers.push(answer);
                }
                Message::Event(_) => self.events += 1,
                Message::Heartbeat(_) => self.heartbeats += 1,
                Message::Registration(_) => self.registrations += 1,
                _ => {}
            }
        }
        if is_over {
            match self.orders.pop() {
                Some(order) => said.extend(self.encode(now, &order)),
                None if self.keeps_line => {}
                None => said.extend(self.farewell(now, EndReason::Done)),
            }
        }
        said
    }

    /// The 00:00 readings that the station has: day and total, as often as they were told.
    pub fn days(&self) -> Vec<(Civil, i64)> {
        let frozen = |r: &polymeter_sdk::Register| r.role == polymeter_sdk::Role::Frozen;
        let single = self.reports.iter().flat_map(|r| r.registers.iter().filter(|r| frozen(r)));
        let single = single.filter_map(|r| r.at.map(|at| (at, r.mantissa)));
        let series = self.reports.iter().flat_map(|r| &r.series).flat_map(|s| &s.samples).map(|s| (s.at, s.mantissa));
        let mut days: Vec<_> = single.chain(series).collect();
        days.sort_unstable();
        days
    }
}
