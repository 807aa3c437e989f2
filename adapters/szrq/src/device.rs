//! The meter's side of the protocol, for simulators and tests: it reports, takes acknowledgements and carries out commands.
//!
//! ```
//! # use szrq::device::{Heard, Meter};
//! let mut meter = Meter::new("SZ00000012345678");
//! meter.state.working_total += 12;
//! let frame = meter.report(1_710_527_107, 2, false);
//! // … send it; then, for what the station sends back:
//! # let station = [0x68];
//! match meter.receive(&station, 1_710_527_110) {
//!     Ok(Heard::Acknowledged { more, .. }) => println!("wait for a command: {more}"),
//!     Ok(Heard::Commanded { answer, .. }) => println!("send {} bytes", answer.len()),
//!     Err(why) => println!("not for us: {why}"),
//! }
//! # assert_eq!(frame.len(), 114);
//! ```
//! Times are the caller's: the same calls give the same bytes.

use crate::answer::{CLOSE, LOCK, OPEN};
use crate::frame::{self, Frame, Header, Source};
use crate::items::{self, Kind};
use crate::{code, wire};
use polymeter_sdk::{Civil, Framing, bcd, civil};
use std::collections::BTreeMap;

const REFUSED: i8 = -12;

/// What a meter measures and how it stands; numbers as on the wire, volumes in 0.01 m³ as the meter counts them.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    pub device_type: u8,
    /// 0 civil, 1 non-civil.
    pub class: u8,
    pub standard_total: i32,
    pub working_total: i32,
    pub flow: f32,
    pub temperature: i16,
    pub pressure: i16,
    pub signal: i8,
    /// 0 none, 1 open, 2 closed, 3 locked, 4 unknown, 5 fault.
    pub valve: u8,
    pub power: u8,
    pub batteries: [i8; 2],
    pub imsi: String,
    pub balance: i32,
    pub settled: i32,
    pub settled_at: Option<Civil>,
}

impl Default for State {
    /// The healthy meter of the sheet's examples.
    fn default() -> Self {
        Self {
            device_type: 1,
            class: 1,
            standard_total: 5_678_900,
            working_total: 5_678_900,
            flow: wire::ABSENT as f32,
            temperature: wire::ABSENT as i16,
            pressure: wire::ABSENT as i16,
            signal: 23,
            valve: 1,
            power: 2,
            batteries: [80, -1],
            imsi: "460004123456789".into(),
            balance: 12_345,
            settled: 0,
            settled_at: None,
        }
    }
}

/// One record of the log.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Record {
    pub standard_total: i32,
    pub working_total: i32,
    pub flow: f32,
    pub temperature: i16,
    pub pressure: i16,
}

/// A simulated meter. What the caller may turn is public; the rest is protocol.
#[derive(Clone, Debug)]
pub struct Meter {
    pub state: State,
    /// Answer the next commands that have a result with this one instead of carrying them out.
    pub refuse_with: Option<i8>,
    /// Totals frozen by month, (year, month), in 0.01 m³.
    pub frozen: BTreeMap<(u16, u8), i32>,
    comm_sn: [u8; 16],
    iccid: [u8; 20],
    /// Values by setting message, one slot an item.
    set: BTreeMap<u8, Vec<Vec<u8>>>,
    last_answer: Option<Vec<u8>>,
}

/// What a frame of the station meant to the meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// To a report. `more`: a command follows. The caller sets its clock.
    Acknowledged { command: u8, result: i8, clock: Option<Civil>, more: bool },
    /// Carried out or refused; `answer` is the frame to send back. `closes`: the session is over after it.
    Commanded { command: u8, answer: Vec<u8>, closes: bool },
}

impl Meter {
    /// The number has 16 letters and digits; shorter ones are filled with zeros in front, longer ones lose their first characters.
    pub fn new(comm_sn: &str) -> Self {
        let mut number = [b'0'; 16];
        for (to, from) in number.iter_mut().rev().zip(comm_sn.bytes().rev()) {
            *to = from;
        }
        Self {
            state: State::default(),
            refuse_with: None,
            frozen: BTreeMap::new(),
            comm_sn: number,
            iccid: *b"89860419001870123456",
            set: BTreeMap::new(),
            last_answer: None,
        }
    }

    pub fn address(&self) -> String {
        self.comm_sn.iter().map(|b| char::from(*b)).collect()
    }

    /// 07 with the present state. Send the same bytes again to simulate a repetition.
    pub fn report(&self, at: Civil, period: u8, more: bool) -> Vec<u8> {
        let clock = bcd6(at);
        let mut body = vec![period, 1, clock[3], clock[4]];
        body.extend_from_slice(&clock);
        self.record(&self.now(), &mut body);
        self.tail(&mut body);
        self.build(Source::DeviceRequest, code::REPORT, &body, more)
    }

    /// 09 with these records, newest first.
    pub fn packed(&self, sent: Civil, newest: Civil, period: u8, interval: u8, log: &[Record], more: bool) -> Vec<u8> {
        let sent = bcd6(sent);
        let mut body = vec![period, interval, 1, sent[3], sent[4]];
        body.extend_from_slice(&bcd6(newest));
        log.iter().for_each(|record| self.record(record, &mut body));
        self.tail(&mut body);
        self.build(Source::DeviceRequest, code::PACKED, &body, more)
    }

    /// 0D with the present state.
    pub fn alarm(&self, at: Civil, kind: u8, begins: bool, reason: u8, more: bool) -> Vec<u8> {
        let s = &self.state;
        let mut body = bcd6(at).to_vec();
        body.extend_from_slice(&[u8::from(begins), kind]);
        body.extend_from_slice(&s.pressure.to_le_bytes());
        body.extend_from_slice(&s.temperature.to_le_bytes());
        body.extend_from_slice(&wire::ABSENT.to_le_bytes());
        body.extend_from_slice(&wire::ABSENT.to_le_bytes());
        body.extend_from_slice(&s.flow.to_be_bytes());
        body.extend_from_slice(&s.batteries.map(i8::cast_unsigned));
        body.extend_from_slice(&s.balance.to_le_bytes());
        body.extend_from_slice(&[s.valve, if begins { reason } else { 0 }]);
        body.extend_from_slice(&self.scaled(s.standard_total));
        body.extend_from_slice(&self.scaled(s.working_total));
        body.push(s.class);
        self.build(Source::DeviceRequest, code::ALARM, &body, more)
    }

    /// The present state as a record.
    pub fn now(&self) -> Record {
        let s = &self.state;
        let State { standard_total, working_total, flow, temperature, pressure, .. } = *s;
        Record { standard_total, working_total, flow, temperature, pressure }
    }

    /// The answer given last, as a meter repeats it when it hears nothing for 12 s.
    pub fn repeat(&self) -> Option<&[u8]> {
        self.last_answer.as_deref()
    }

    /// Takes one frame of the station.
    ///
    /// # Errors
    /// Why a meter would ignore it.
    pub fn receive(&mut self, frame: &[u8], now: Civil) -> Result<Heard, String> {
        let frame = Frame::parse(frame).map_err(|fault| fault.detail)?;
        let Header { source, has_more: more, command, comm_sn, .. } = frame.header;
        if comm_sn != self.comm_sn {
            return Err("a frame for somebody else".into());
        }
        match (source, frame.body) {
            (Source::PlatformResponse, [result, clock @ ..]) => {
                let clock = clock.first_chunk().and_then(|c| civil::from_bcd6(*c));
                Ok(Heard::Acknowledged { command, result: result.cast_signed(), clock, more })
            }
            (Source::PlatformRequest, body) => {
                let body = self.execute(command, body, now).ok_or_else(|| format!("command {command:02X}"))?;
                let answer = self.build(Source::DeviceResponse, command + 1, &body, false);
                self.last_answer = Some(answer.clone());
                Ok(Heard::Commanded { command, answer, closes: command == code::SYNC_BALANCE })
            }
            _ => Err("not a platform's frame".into()),
        }
    }

    /// Length of the station's frame at the start of a stream's bytes; bytes before it count as noise of that length.
    pub fn cut(received: &[u8]) -> Option<usize> {
        match frame::cut(received) {
            Framing::Frame(length) | Framing::Skip(length) => Some(length as usize),
            Framing::Incomplete(_) => None,
            Framing::Foreign => Some(received.len()),
        }
    }

    /// Any frame of this meter.
    pub fn build(&self, source: Source, command: u8, body: &[u8], has_more: bool) -> Vec<u8> {
        let header = Header { source, has_more, mid: 0, vendor: 4, command, iccid: self.iccid, comm_sn: self.comm_sn };
        frame::build(&header, body)
    }

    /// The answer's body; `None`: the meter does not answer that.
    fn execute(&mut self, command: u8, body: &[u8], now: Civil) -> Option<Vec<u8>> {
        Some(match command {
            code::VALVE => {
                let result = self.refuse_with.unwrap_or_else(|| self.move_valve(body));
                vec![result.cast_unsigned(), self.state.valve]
            }
            code::READ_FROZEN => self.frozen(body),
            code::SET_BASE | code::SET_REPORT | code::SET_SERVERS | code::SET_ALARMS => self.store(command, body)?,
            code::READ_ALL => self.stored(),
            code::SYNC_BALANCE => {
                self.state.balance = i32::from_le_bytes(*body.first_chunk()?);
                self.state.settled_at = Some(now);
                [&[1], body].concat()
            }
            _ => return None,
        })
    }

    /// 33CC clears the lock and leaves the valve to the user.
    fn move_valve(&mut self, body: &[u8]) -> i8 {
        let valve = &mut self.state.valve;
        match (body.first_chunk(), *valve) {
            (_, 0 | 5) => -1,
            (Some(&OPEN), 3) => {
                *valve = 2;
                1
            }
            (Some(&OPEN), _) => 1,
            (Some(&CLOSE), 3) => -5,
            (Some(&CLOSE), _) => {
                *valve = 2;
                1
            }
            (Some(&LOCK), _) => {
                *valve = 3;
                1
            }
            _ => -8,
        }
    }

    fn frozen(&self, body: &[u8]) -> Vec<u8> {
        let month = body
            .first_chunk()
            .and_then(|[yy, mm]: &[u8; 2]| Some((2000 + u16::from(bcd::byte(*yy)?), bcd::byte(*mm)?)));
        let Some((month, total)) = month.and_then(|month| Some((month, self.frozen.get(&month)?))) else {
            return [&[(-3_i8).cast_unsigned()][..], &[0; 19]].concat();
        };
        let at = civil::date(month.0, month.1, 28).unwrap_or_default();
        let mut answer = vec![1];
        answer.extend_from_slice(&bcd6(at));
        answer.extend_from_slice(&self.scaled(*total));
        answer.extend_from_slice(&self.scaled(*total));
        answer.extend_from_slice(&self.state.temperature.to_le_bytes());
        answer.extend_from_slice(&self.state.pressure.to_le_bytes());
        answer.push(self.state.class);
        answer
    }

    /// Takes what is flagged. The refusal of any pressure or temperature limit is told in the first flag, as the firmware does.
    fn store(&mut self, command: u8, body: &[u8]) -> Option<Vec<u8>> {
        let mut echo = body.to_vec();
        let values = self.set.entry(command).or_insert_with(|| vec![Vec::new(); items::of(command).len()]);
        let mut at = 0;
        for (item, value) in items::of(command).iter().zip(values) {
            let end = at + 1 + item.kind.bytes();
            let field = body.get(at..end)?;
            if field[0] == 1 {
                let result = self.refuse_with.unwrap_or(if item.kind == Kind::Refused { REFUSED } else { 1 });
                let place = if item.kind == Kind::Refused { 0 } else { at };
                echo[place] = result.cast_unsigned();
                if result == 1 {
                    *value = field[1..].to_vec();
                }
            }
            at = end;
        }
        Some(echo)
    }

    /// 1A: the flag of the second address stays 0, as in the firmware.
    fn stored(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(76);
        for command in [code::SET_BASE, code::SET_REPORT, code::SET_SERVERS, code::SET_ALARMS] {
            let items = items::of(command);
            let items = if command == code::SET_BASE { &items[..2] } else { items };
            for (i, item) in items.iter().enumerate() {
                let value = self.set.get(&command).map_or(&[][..], |values| &values[i]);
                let flag = match item.kind {
                    Kind::Refused => -1_i8,
                    _ if item.name == "vendor-host-2" => 0,
                    _ => i8::from(!value.is_empty()),
                };
                body.push(flag.cast_unsigned());
                let end = body.len() + item.kind.bytes();
                body.extend_from_slice(value);
                body.resize(end, 0);
            }
        }
        body
    }

    fn record(&self, record: &Record, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.scaled(record.standard_total));
        body.extend_from_slice(&self.scaled(record.working_total));
        body.extend_from_slice(&record.flow.to_be_bytes());
        body.extend_from_slice(&record.temperature.to_le_bytes());
        body.extend_from_slice(&record.pressure.to_le_bytes());
    }

    fn tail(&self, body: &mut Vec<u8>) {
        let s = &self.state;
        body.extend_from_slice(&[s.signal.cast_unsigned(), s.device_type, s.class, s.valve, s.power]);
        body.extend_from_slice(&s.batteries.map(i8::cast_unsigned));
        body.push(s.imsi.len() as u8);
        let mut sim = [0; 8];
        for (i, digit) in s.imsi.bytes().take(16).enumerate() {
            sim[i / 2] |= (digit & 15) << (4 * (1 - i % 2));
        }
        body.extend_from_slice(&sim);
        body.extend_from_slice(&s.balance.to_le_bytes());
        // The firmware forgets to scale it.
        body.extend_from_slice(&s.settled.to_le_bytes());
        body.extend_from_slice(&s.settled_at.map_or([0; 6], bcd6));
        body.extend_from_slice(&[0; 8]);
    }

    /// 0.01 m³ in the unit of the class, half up; markers pass.
    fn scaled(&self, total: i32) -> [u8; 4] {
        let unit = if self.state.class == 0 { 10 } else { 100 };
        let wire = if total < 0 { total } else { total.saturating_add(unit / 2) / unit };
        wire.to_le_bytes()
    }
}

/// All zero, unset, outside 2000..2099.
fn bcd6(at: Civil) -> [u8; 6] {
    civil::to_bcd6(at).unwrap_or_default()
}
