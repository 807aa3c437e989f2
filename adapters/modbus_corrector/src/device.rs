//! The device's side, for tests and simulation: a corrector with registers, and the transparent DTU before it. Bytes in, bytes out; sockets, waiting
//! and randomness are the caller's. Silence is a slave's reaction to what it does not like, and to other addresses.
//!
//! ```text
//! let mut corrector = Corrector::typical(1, &State::healthy(now));
//! send(registration(b"866123040012344"));
//! if let Some(answer) = corrector.hear(&received) { send(answer) }
//! ```

use crate::field::{self, Order};
use crate::frame::{EXCEPTION, READ_HOLDING, READ_INPUT, WRITE_COIL, WRITE_MANY, WRITE_ONE, seal};
use polymeter_sdk::{Civil, checksum, civil};
use std::collections::BTreeMap;

pub const ILLEGAL_FUNCTION: u8 = 1;
pub const ILLEGAL_ADDRESS: u8 = 2;
pub const ILLEGAL_VALUE: u8 = 3;

/// A simulated corrector. Fields are its present state; change them freely between frames.
#[derive(Clone, Debug)]
pub struct Corrector {
    pub bus: u8,
    /// Function 3 reads them, 6 and 16 write them.
    pub holding: BTreeMap<u16, u16>,
    /// Function 4 reads them.
    pub input: BTreeMap<u16, u16>,
    pub coils: BTreeMap<u16, bool>,
    /// Holding registers that may not be written.
    pub read_only: std::ops::RangeInclusive<u16>,
    /// Answers everything with this exception.
    pub refuse_with: Option<u8>,
    /// Takes writes and forgets them.
    pub forgetful: bool,
}

/// What the typical map shows; totals in 0.001 m³.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct State {
    pub clock: Civil,
    pub standard_total: u64,
    pub working_total: u64,
    pub disturbed_total: u64,
    /// 0.001 m³/h
    pub standard_flow: u32,
    pub working_flow: u32,
    /// Pa
    pub pressure: u32,
    /// 0.01 °C
    pub temperature: i16,
    pub battery_mv: u16,
    pub compressibility: f32,
    pub correction: f32,
    pub battery_months: u16,
    pub alarms: u32,
}

impl State {
    pub const fn healthy(clock: Civil) -> Self {
        Self {
            clock,
            standard_total: 123_456_789,
            working_total: 31_234_567,
            disturbed_total: 0,
            standard_flow: 402_500,
            working_flow: 100_125,
            pressure: 401_325,
            temperature: 1_845,
            battery_mv: 3_612,
            compressibility: 0.997_25,
            correction: 4.02,
            battery_months: 54,
            alarms: 0,
        }
    }
}

impl Corrector {
    pub const fn new(bus: u8) -> Self {
        Self {
            bus,
            holding: BTreeMap::new(),
            input: BTreeMap::new(),
            coils: BTreeMap::new(),
            #[allow(clippy::reversed_empty_ranges)]
            read_only: 1..=0,
            refuse_with: None,
            forgetful: false,
        }
    }

    /// One whose map is the default profile's.
    pub fn typical(bus: u8, state: &State) -> Self {
        let mut corrector = Self::new(bus);
        corrector.holding.extend((0..32).chain(100..109).chain(1000..1720).map(|r| (r, 0)));
        corrector.read_only = 0..=26;
        corrector.show(state);
        corrector
    }

    /// Puts the present state into the typical map's registers.
    pub fn show(&mut self, state: &State) {
        for (register, registers, bits) in [
            (0, 4, state.standard_total),
            (4, 4, state.working_total),
            (8, 4, state.disturbed_total),
            (12, 2, state.standard_flow.into()),
            (14, 2, state.working_flow.into()),
            (16, 2, state.pressure.into()),
            (18, 1, u64::from(state.temperature as u16)),
            (19, 1, state.battery_mv.into()),
            (20, 2, state.compressibility.to_bits().into()),
            (22, 2, state.correction.to_bits().into()),
            (24, 1, state.battery_months.into()),
            (25, 2, state.alarms.into()),
            (30, 1, 0x0203),
        ] {
            self.put(register, &field::wire(Order::Abcd, registers, bits));
        }
        self.put(27, &civil::to_bcd6(state.clock).unwrap_or_default());
    }

    /// A record of the typical map's archive, 0 the newest.
    pub fn record(&mut self, record: u16, at: Civil, standard: u64, working: u64) {
        let base = 1000 + record * 12;
        self.put(base, &civil::to_bcd6(at).unwrap_or_default());
        self.put(base + 4, &standard.to_be_bytes());
        self.put(base + 8, &working.to_be_bytes());
    }

    /// Bytes into holding registers.
    pub fn put(&mut self, register: u16, bytes: &[u8]) {
        for (at, pair) in (register..).zip(bytes.as_chunks::<2>().0) {
            self.holding.insert(at, u16::from_be_bytes(*pair));
        }
    }

    /// Bytes into input registers.
    pub fn put_input(&mut self, register: u16, bytes: &[u8]) {
        for (at, pair) in (register..).zip(bytes.as_chunks::<2>().0) {
            self.input.insert(at, u16::from_be_bytes(*pair));
        }
    }

    /// What goes back, if anything.
    pub fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (body, sum) = bytes.split_last_chunk::<2>()?;
        let &[bus, function, a, b, c, d, ref rest @ ..] = body else { return None };
        if checksum::crc16_modbus(body).to_le_bytes() != *sum || bus != self.bus {
            return None;
        }
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let answer = match self.refuse_with {
            Some(code) => Err(code),
            None => self.carry_out(function, first, second, rest),
        };
        Some(seal(match answer {
            Ok(body) => [&[bus, function][..], &body].concat(),
            Err(code) => vec![bus, function | EXCEPTION, code],
        }))
    }

    fn carry_out(&mut self, function: u8, first: u16, second: u16, data: &[u8]) -> Result<Vec<u8>, u8> {
        let echo = [first.to_be_bytes(), second.to_be_bytes()].concat();
        match function {
            READ_HOLDING | READ_INPUT => {
                let registers = if function == READ_HOLDING { &self.holding } else { &self.input };
                if !(1..=125).contains(&second) || !data.is_empty() {
                    return Err(ILLEGAL_VALUE);
                }
                let mut answer = vec![(second * 2) as u8];
                for register in u32::from(first)..u32::from(first) + u32::from(second) {
                    let value = u16::try_from(register).ok().and_then(|r| registers.get(&r)).ok_or(ILLEGAL_ADDRESS)?;
                    answer.extend_from_slice(&value.to_be_bytes());
                }
                Ok(answer)
            }
            WRITE_COIL if matches!(second, 0 | 0xFF00) && data.is_empty() => {
                let coil = self.coils.get_mut(&first).ok_or(ILLEGAL_ADDRESS)?;
                *coil = second != 0;
                Ok(echo)
            }
            WRITE_ONE if data.is_empty() => {
                self.write(first, &second.to_be_bytes())?;
                Ok(echo)
            }
            WRITE_MANY => match *data {
                [count, ref data @ ..] if usize::from(count) == data.len() && data.len() == usize::from(second) * 2 => {
                    self.write(first, data)?;
                    Ok(echo)
                }
                _ => Err(ILLEGAL_VALUE),
            },
            WRITE_COIL | WRITE_ONE => Err(ILLEGAL_VALUE),
            _ => Err(ILLEGAL_FUNCTION),
        }
    }

    fn write(&mut self, first: u16, data: &[u8]) -> Result<(), u8> {
        let last = u32::from(first) + data.len() as u32 / 2;
        let known =
            |r: u32| u16::try_from(r).is_ok_and(|r| self.holding.contains_key(&r) && !self.read_only.contains(&r));
        if data.is_empty() || !(u32::from(first)..last).all(known) {
            return Err(ILLEGAL_ADDRESS);
        }
        if !self.forgetful {
            self.put(first, data);
        }
        Ok(())
    }
}
