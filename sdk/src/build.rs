//! Short ways to write the contract's records, so that a simple adapter stays simple. Each starts from the plainest case
//! and is refined by method.

use crate::{
    Answer, AnswerBody, Capabilities, Civil, Decoded, DeviceKind, Encoded, Event, Heartbeat, Initiator, Message,
    Outcome, Quality, Quantity, Register, Registration, Relayed, Report, ReportCause, Role, Sample, Sender, Series,
    Unit, Unknown, ValveState, ValveStatus,
};

impl Register {
    /// `mantissa × 10^exponent` of a unit, now, as good as the device can tell.
    pub const fn new(quantity: Quantity, unit: Unit, mantissa: i64, exponent: i8) -> Self {
        Self {
            quantity,
            unit,
            role: Role::Instantaneous,
            quality: Quality::Good,
            exponent,
            mantissa,
            at: None,
            storage: 0,
            tariff: 0,
            channel: 0,
            code: 0,
        }
    }
    /// A running total.
    pub const fn cumulative(quantity: Quantity, unit: Unit, mantissa: i64, exponent: i8) -> Self {
        let mut register = Self::new(quantity, unit, mantissa, exponent);
        register.role = Role::Cumulative;
        register
    }
    /// A total stored at `at`, such as the reading of 00:00.
    pub const fn frozen(quantity: Quantity, unit: Unit, mantissa: i64, exponent: i8, at: Civil) -> Self {
        let mut register = Self::new(quantity, unit, mantissa, exponent);
        register.role = Role::Frozen;
        register.at = Some(at);
        register
    }
    #[must_use]
    pub const fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }
    #[must_use]
    pub const fn with_quality(mut self, quality: Quality) -> Self {
        self.quality = quality;
        self
    }
    #[must_use]
    pub const fn with_at(mut self, at: Civil) -> Self {
        self.at = Some(at);
        self
    }
    /// 1.. historical value as the device numbers them.
    #[must_use]
    pub const fn with_storage(mut self, storage: u32) -> Self {
        self.storage = storage;
        self
    }
    #[must_use]
    pub const fn with_tariff(mut self, tariff: u16) -> Self {
        self.tariff = tariff;
        self
    }
    /// 1.. sub-unit or input.
    #[must_use]
    pub const fn with_channel(mut self, channel: u16) -> Self {
        self.channel = channel;
        self
    }
    /// The vendor's own number of this register.
    #[must_use]
    pub const fn with_code(mut self, code: u32) -> Self {
        self.code = code;
        self
    }
}

impl Series {
    pub const fn new(quantity: Quantity, unit: Unit, role: Role, exponent: i8, samples: Vec<Sample>) -> Self {
        Self { quantity, unit, role, exponent, storage: 0, tariff: 0, channel: 0, code: 0, samples }
    }
}

impl Report {
    /// Of the sender, without values yet.
    pub const fn new(cause: ReportCause) -> Self {
        Self {
            subject: None,
            cause,
            at: None,
            registers: Vec::new(),
            series: Vec::new(),
            valve: None,
            alarms: Vec::new(),
            raw_status: 0,
            more_follows: false,
        }
    }
    #[must_use]
    pub fn with_registers(mut self, registers: Vec<Register>) -> Self {
        self.registers = registers;
        self
    }
}

impl ValveStatus {
    /// The state, without who and why.
    pub const fn new(state: ValveState) -> Self {
        Self { state, by: Initiator::Unknown, reason: None }
    }
}

impl Registration {
    /// Of a device that says nothing but that it is there.
    pub fn new(kind: DeviceKind) -> Self {
        Self {
            kind,
            manufacturer: String::new(),
            model: String::new(),
            hardware: String::new(),
            firmware: String::new(),
            iccid: String::new(),
            imei: String::new(),
            capabilities: Capabilities::empty(),
            schedule: None,
            key_version: None,
            clock: None,
        }
    }
}

impl Event {
    /// A condition that began, of the sender itself.
    pub fn new(code: &str, at: Option<Civil>, raw_code: u32) -> Self {
        Self { subject: None, code: code.into(), cleared: false, at, value: None, raw_code }
    }
}

impl Answer {
    /// To the command that was encoded with this correlation.
    pub const fn new(correlation: Vec<u8>, outcome: Outcome) -> Self {
        Self { correlation, outcome, reason: String::new(), raw_code: 0, body: AnswerBody::None, more_follows: false }
    }
    #[must_use]
    pub fn with_body(mut self, body: AnswerBody) -> Self {
        self.body = body;
        self
    }
}

impl Decoded {
    /// From whom, and what it said. No reply, nothing to remember.
    pub fn new(address: impl Into<String>, kind: DeviceKind, messages: Vec<Message>) -> Self {
        Self { sender: Some(Sender { address: address.into(), kind }), messages, ..Self::empty() }
    }
    /// Nothing at all.
    pub const fn empty() -> Self {
        Self { sender: None, messages: Vec::new(), reply: None, state: None, memory: None, duplicate: false }
    }
    #[must_use]
    pub fn with_reply(mut self, reply: Vec<u8>) -> Self {
        self.reply = Some(reply);
        self
    }
}

impl Encoded {
    /// No frame: the protocol says this by silence.
    pub const fn nothing() -> Self {
        Self {
            frames: Vec::new(),
            correlation: Vec::new(),
            answer_within_s: 0,
            repeatable: false,
            state: None,
            memory: None,
        }
    }
    /// One frame whose answer carries `correlation`.
    pub fn frame(frame: Vec<u8>, correlation: Vec<u8>, answer_within_s: u16) -> Self {
        Self { frames: vec![frame], correlation, answer_within_s, ..Self::nothing() }
    }
}

impl From<Registration> for Message {
    fn from(registration: Registration) -> Self {
        Self::Registration(registration)
    }
}
impl From<Heartbeat> for Message {
    fn from(heartbeat: Heartbeat) -> Self {
        Self::Heartbeat(heartbeat)
    }
}
impl From<Report> for Message {
    fn from(report: Report) -> Self {
        Self::Report(report)
    }
}
impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}
impl From<Answer> for Message {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}
impl From<Relayed> for Message {
    fn from(relayed: Relayed) -> Self {
        Self::Relayed(relayed)
    }
}
impl Message {
    /// Bytes that were not understood, kept under a name.
    pub fn unknown(what: impl Into<String>, bytes: &[u8]) -> Self {
        Self::Unknown(Unknown { what: what.into(), bytes: bytes.to_vec() })
    }
}
