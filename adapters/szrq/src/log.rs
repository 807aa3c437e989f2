//! The log of a packed report behind its newest record: one series a quantity, and an invalid register where a marker stands.

use crate::frame::BODY_AT;
use crate::options::Options;
use crate::report::{PACKED_HEAD, RECORD_BYTES, Record};
use crate::wire::{self, Found, Values, found_float, template, total};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Civil, Quality, Quantity, Register, Role, Sample, Series, Unit};

/// The log behind the newest record, by quantity.
#[derive(Default)]
pub struct Columns {
    /// Of the newest record.
    at: Civil,
    step: Civil,
    scale: i8,
    device_type: u8,
    standard: Vec<Sample>,
    volume: Vec<Sample>,
    working: Vec<Sample>,
    flow: Vec<(Civil, i64, i8)>,
    temperature: Vec<Sample>,
    pressure: Vec<Sample>,
}

impl Columns {
    /// `at` is the newest record's time, `scale` that of volumes.
    pub fn new(at: Civil, step: Civil, scale: i8, device_type: u8) -> Self {
        Self { at, step, scale, device_type, ..Self::default() }
    }

    pub fn read(&mut self, log: &[u8], out: &mut Values) -> Result<(), FieldError> {
        self.working.reserve(log.len() / RECORD_BYTES);
        for (k, bytes) in (1_i64..).zip(log.chunks_exact(RECORD_BYTES)) {
            let record = Record::read(&mut Reader::at(bytes, BODY_AT + PACKED_HEAD + k as usize * RECORD_BYTES))?;
            let at = self.at - k * self.step;
            let standard = record.standard_quantity(Some(self.device_type));
            if let Some(quantity) = standard {
                let corrected = quantity == Quantity::StandardVolume;
                let samples = if corrected { &mut self.standard } else { &mut self.volume };
                keep(samples, at, record.standard, out, (quantity, 58));
            }
            keep(&mut self.working, at, record.working, out, (Quantity::WorkingVolume, 62));
            match found_float(record.flow) {
                Found::Value(Some((mantissa, exponent))) => self.flow.push((at, mantissa, exponent)),
                Found::Value(None) => out.odd_floats.push((66, record.flow)),
                Found::Absent => {}
                Found::Missing(marker) => {
                    missing(out, at, marker, template(Quantity::VolumeFlow, Unit::CubicMetrePerHour, 66));
                }
            }
            keep(&mut self.temperature, at, record.temperature, out, (Quantity::Temperature, 70));
            keep(&mut self.pressure, at, record.pressure, out, (Quantity::Pressure, 72));
        }
        Ok(())
    }

    pub fn series(self, out: &mut Values, options: &Options) -> Vec<Series> {
        let least = self.flow.iter().map(|(_, _, exponent)| *exponent).min().unwrap_or(0);
        let mut flow = Vec::with_capacity(self.flow.len());
        for (at, mantissa, exponent) in self.flow {
            match wire::exactly(mantissa, exponent, least) {
                Some(mantissa) => flow.push(Sample { at, mantissa }),
                // Too far from the others for a common power of ten.
                None => out.registers.push(
                    Register::new(Quantity::VolumeFlow, Unit::CubicMetrePerHour, mantissa, exponent)
                        .with_at(at)
                        .with_code(66),
                ),
            }
        }
        let s = &options.scales;
        let columns = [
            (Quantity::StandardVolume, Unit::CubicMetre, Role::Cumulative, self.scale, self.standard, 58),
            (Quantity::Volume, Unit::CubicMetre, Role::Cumulative, self.scale, self.volume, 58),
            (Quantity::WorkingVolume, Unit::CubicMetre, Role::Cumulative, self.scale, self.working, 62),
            (Quantity::VolumeFlow, Unit::CubicMetrePerHour, Role::Instantaneous, least, flow, 66),
            (Quantity::Temperature, Unit::DegreeCelsius, Role::Instantaneous, s.temperature, self.temperature, 70),
            (Quantity::Pressure, Unit::Pascal, Role::Instantaneous, s.pressure, self.pressure, 72),
        ];
        let present = columns.into_iter().filter(|column| !column.4.is_empty());
        present
            .map(|(quantity, unit, role, exponent, samples, code)| {
                let mut series = Series::new(quantity, unit, role, exponent, samples);
                series.code = code;
                series
            })
            .collect()
    }
}

fn keep(samples: &mut Vec<Sample>, at: Civil, found: Found<i64>, out: &mut Values, what: (Quantity, u32)) {
    let (quantity, code) = what;
    match found {
        // A total below nothing is no sample to bill by.
        Found::Value(mantissa) if mantissa >= 0 || !is_total(quantity) => samples.push(Sample { at, mantissa }),
        Found::Value(mantissa) => missing(out, at, mantissa as i32, register_of(quantity, code)),
        Found::Absent => {}
        Found::Missing(marker) => missing(out, at, marker, register_of(quantity, code)),
    }
}

/// An invalid register in a log: it does not mean that reading fails now.
fn missing(out: &mut Values, at: Civil, marker: i32, register: Register) {
    let register = register.with_at(at).with_quality(Quality::Invalid);
    out.registers.push(Register { mantissa: marker.into(), ..register });
}

const fn is_total(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::StandardVolume | Quantity::Volume | Quantity::WorkingVolume)
}

const fn register_of(quantity: Quantity, code: u32) -> Register {
    match quantity {
        Quantity::Temperature => template(quantity, Unit::DegreeCelsius, code),
        Quantity::Pressure => template(quantity, Unit::Pascal, code),
        _ => total(quantity, code),
    }
}
