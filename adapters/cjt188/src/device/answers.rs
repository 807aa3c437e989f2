//! What a simulated meter does with a request, and the operands of its answer.

use super::dialect::{Layout, WriteAnswer};
use super::{Datetime, Meter, UnitPlace, Valve};
use crate::di;
use crate::frame::control;
use polymeter_sdk::{Civil, bcd, civil};

const CUBIC_METRE: u8 = 0x2C;
const KILOWATT_HOUR: u8 = 0x05;

/// `None`: the meter does not know it, and is silent.
pub(super) fn execute(meter: &mut Meter, now: Civil, control: u8, di: u16, data: &[u8]) -> Option<Vec<u8>> {
    let heat = meter.meter_type() >> 4 == 2;
    let unit = if heat { KILOWATT_HOUR } else { CUBIC_METRE };
    let clock = now + meter.drift_s;
    match (control, di) {
        (control::READ, di::READING) if heat => Some(heat_reading(meter, clock, false)),
        (control::READ, di::READING_2) if heat => Some(heat_reading(meter, clock, true)),
        (control::READ, di::READING) => Some(reading(meter, clock)),
        (control::READ, di::CLOCK | di::CLOCK_8515 | di::CLOCK_8115) => Some(d7(meter, clock).to_vec()),
        (control::READ, 0xD120..=0xD12B) if !meter.dialect.months_2018 => {
            Some(with_unit(meter, month_total(meter, clock, i64::from(di - di::MONTHS) + 1), unit))
        }
        (control::READ, 0xD200..=0xD2FF) if meter.dialect.months_2018 => {
            let total = month_total(meter, clock, i64::from(di - di::MONTHS_2018) + 1);
            let one = with_unit(meter, total, unit);
            Some(if heat {
                [one, with_unit(meter, 0, unit), with_unit(meter, total, CUBIC_METRE)].concat()
            } else {
                one
            })
        }
        (control::READ, 0xD300..=0xD4FF) if meter.dialect.months_2018 && !heat => {
            let at = civil::midnight(clock) - i64::from(di & 0xFF) * civil::DAY;
            let values = [with_unit(meter, meter.total(at), CUBIC_METRE), with_unit(meter, 12_345, 0x35)].concat();
            Some([&d7(meter, at)[..], &values, &[0x50, 0x21, 0], &[0x25, 0x10, 0]].concat())
        }
        (control::READ, _) if meter.dialect.module && di::is_module_history(di) => Some(module(meter, clock, di)),
        (control::READ, di::PRICES) => Some(meter.prices.to_vec()),
        (control::READ, di::SETTLEMENT_DAY) => Some(vec![bcd::pack(meter.settlement_day)?]),
        (control::READ, di::READING_DAY) => Some(vec![bcd::pack(meter.reading_day)?]),
        (control::READ, di::PURCHASE) => {
            let (sequence, this, all, left) = meter.purchases;
            let money = [this, all, left].map(low_first).concat();
            Some([&[bcd::pack(sequence)?][..], &money, &meter.status()].concat())
        }
        (control::READ_ADDRESS, di::ADDRESS) => Some(meter.address.to_vec()),
        (control::READ_KEY, di::KEY_VERSION) => Some(vec![1]),
        (control::WRITE | control::WRITE_ADDRESS | control::WRITE_BASE, _) => {
            write(meter, now, control, di, data)?;
            let [s0, s1] = meter.status();
            Some(match meter.dialect.write_answer {
                WriteAnswer::Nothing => Vec::new(),
                WriteAnswer::St1 => vec![s0],
                WriteAnswer::St2 => vec![s0, s1],
            })
        }
        _ => None,
    }
}

fn write(meter: &mut Meter, now: Civil, control: u8, di: u16, data: &[u8]) -> Option<()> {
    match (control, di, data) {
        (control::WRITE, di::VALVE, [order @ (0x55 | 0x99)]) => {
            if !meter.valve_stuck {
                meter.valve = if *order == 0x55 { Valve::Open } else { Valve::Closed };
            }
        }
        (control::WRITE, di::SET_CLOCK, data) => meter.drift_s = read_d7(meter, data)? - now,
        (control::WRITE, di::SET_SETTLEMENT_DAY, [day]) => meter.settlement_day = bcd::byte(*day)?,
        (control::WRITE, di::SET_READING_DAY, [day]) => meter.reading_day = bcd::byte(*day)?,
        (control::WRITE, di::SET_PRICES, [prices @ .., day]) => {
            bcd::byte(*day)?;
            meter.prices = prices.try_into().ok()?;
        }
        (control::WRITE, di::SET_PURCHASE, [sequence, amount @ ..]) => {
            let (last, _, all, left) = meter.purchases;
            let (sequence, amount) = (bcd::byte(*sequence)?, u32::try_from(bcd::number_le(amount)?).ok()?);
            // The sequence tells a repetition from another purchase.
            if sequence != last {
                meter.purchases = (sequence, amount, all + amount, left + amount);
            }
        }
        (control::WRITE_BASE, di::SET_BASE, [total @ .., CUBIC_METRE]) if !meter.left_factory => {
            let wanted = bcd::number_le(total)? as i64;
            meter.base_offset = wanted - i64::from((meter.readings)(now + meter.drift_s));
        }
        (control::WRITE_ADDRESS, di::SET_ADDRESS, address) if !meter.left_factory => {
            meter.address = address.try_into().ok()?;
        }
        (control::WRITE, di::FACTORY_LEAVE, []) => meter.left_factory = true,
        _ => return None,
    }
    Some(())
}

fn reading(meter: &Meter, clock: Civil) -> Vec<u8> {
    let (total, settled) = (meter.total(clock), month_total(meter, clock, 0));
    let status = meter.status();
    match meter.dialect.layout {
        Layout::Full22 => {
            let values = [with_unit(meter, total, CUBIC_METRE), with_unit(meter, settled, CUBIC_METRE)].concat();
            [&values[..], &d7(meter, clock), &status].concat()
        }
        Layout::Full20 => [&[total, settled].map(low_first).concat()[..], &d7(meter, clock), &status].concat(),
        Layout::Short9 => [&low_first(total)[..], &status].concat(),
        Layout::Short10 => [&with_unit(meter, total, CUBIC_METRE)[..], &status].concat(),
    }
}

fn heat_reading(meter: &Meter, clock: Civil, cooling: bool) -> Vec<u8> {
    let (total, settled) = (meter.total(clock), month_total(meter, clock, 0));
    let one = |value, unit| with_unit(meter, value, unit);
    let cold = if cooling { one(0, KILOWATT_HOUR) } else { Vec::new() };
    let energies = [one(settled, KILOWATT_HOUR), cold.clone(), one(total, KILOWATT_HOUR), cold].concat();
    let others = [one(1234, 0x17), one(5_678, 0x35), one(total / 10, CUBIC_METRE)].concat();
    let temperatures = [0x35, 0x62, 0x00, 0x66, 0x41, 0x00];
    let pressures: &[u8] = if cooling { &[0x30, 0, 0, 0x25, 0, 0] } else { &[] };
    [&energies[..], &others, &temperatures, pressures, &[0x21, 0x43, 0], &d7(meter, clock), &meter.status()].concat()
}

fn module(meter: &Meter, clock: Civil, di: u16) -> Vec<u8> {
    let totals: Vec<u32> = match di {
        0x903F => (1..=6).map(|ago| month_total(meter, clock, ago)).collect(),
        0x904F => (7..=12).map(|ago| month_total(meter, clock, ago)).collect(),
        days => {
            let first = i64::from((days >> 4 & 0xF) - 3) * 5 + 1;
            (first..first + 5).map(|ago| meter.total(civil::midnight(clock) - ago * civil::DAY)).collect()
        }
    };
    totals.into_iter().flat_map(low_first).collect()
}

/// The total at midnight of the settlement day so many months ago, 0: of the last one.
fn month_total(meter: &Meter, clock: Civil, ago: i64) -> u32 {
    let Some(today) = civil::fields(clock) else { return 0 };
    let back = if ago == 0 && today.day < meter.settlement_day { 1 } else { ago };
    let month = i64::from(today.year) * 12 + i64::from(today.month) - 1 - back;
    let at =
        civil::date(month.div_euclid(12) as u16, month.rem_euclid(12) as u8 + 1, meter.settlement_day.clamp(1, 28));
    at.map_or(0, |at| meter.total(at))
}

fn with_unit(meter: &Meter, value: u32, unit: u8) -> Vec<u8> {
    match meter.dialect.unit_place {
        UnitPlace::After => [&low_first(value)[..], &[unit]].concat(),
        UnitPlace::Before => [&[unit][..], &low_first(value)].concat(),
    }
}

fn low_first(value: u32) -> [u8; 4] {
    let mut packed = bcd::pack_number::<4>(u64::from(value % 100_000_000)).unwrap_or_default();
    packed.reverse();
    packed
}

fn d7(meter: &Meter, at: Civil) -> [u8; 7] {
    let Some(t) = civil::fields(at) else { return [0; 7] };
    let parts = [t.second, t.minute, t.hour, t.day, t.month, (t.year % 100) as u8, (t.year / 100) as u8];
    if meter.dialect.datetime == Datetime::Bin { parts } else { parts.map(|n| bcd::pack(n).unwrap_or(0)) }
}

fn read_d7(meter: &Meter, data: &[u8]) -> Option<Civil> {
    let number = |b: u8| if meter.dialect.datetime == Datetime::Bin { Some(b) } else { bcd::byte(b) };
    let [second, minute, hour, day, month, year, century] = *data else { return None };
    let year = u16::from(number(century)?) * 100 + u16::from(number(year)?);
    civil::time(year, number(month)?, number(day)?, number(hour)?, number(minute)?, number(second)?)
}
