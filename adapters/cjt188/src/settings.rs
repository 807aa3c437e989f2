//! What can be written, and what can be read by name. A value that does not fit is refused, never rounded.

use crate::di;
use crate::frame::{address_bytes, control};
use crate::options::{ClockBy, Commissioning, Options, TariffCycle};
use crate::value::{self, bcd_le};
use polymeter_sdk::{Civil, Fault, Parameter, ParameterValue, Recharge, Tariff, bcd, civil};

/// One request: function, identifier, operands.
pub type Request = (u8, u16, Vec<u8>);

/// By name; one a command, because every one is a frame of its own.
pub fn read(options: &Options, names: &[String]) -> Result<Request, Fault> {
    let [name] = names else {
        return Err(Fault::unsupported("one parameter a command: each is a frame of its own"));
    };
    let (function, di) = match name.as_str() {
        "address" => (control::READ_ADDRESS, di::ADDRESS),
        "key-version" => (control::READ_KEY, di::KEY_VERSION),
        "settlement-day" => (control::READ, di::SETTLEMENT_DAY),
        "reading-day" => (control::READ, di::READING_DAY),
        "vendor-prices" => (control::READ, di::PRICES),
        "vendor-clock" => (
            control::READ,
            match options.clock {
                ClockBy::D907F => di::CLOCK,
                ClockBy::D8515 => di::CLOCK_8515,
                ClockBy::D8115 => di::CLOCK_8115,
            },
        ),
        other => {
            let number = other.strip_prefix("0x").filter(|hex| hex.len() == 4);
            let number = number.and_then(|hex| u16::from_str_radix(hex, 16).ok()).ok_or_else(|| {
                let known = "address, key-version, settlement-day, reading-day, vendor-prices, vendor-clock or 0x and a data identifier";
                Fault::out_of_range("name", other, known)
            })?;
            (control::READ, number)
        }
    };
    Ok((function, di, Vec::new()))
}

pub fn set(options: &Options, list: &[Parameter]) -> Result<Request, Fault> {
    let [Parameter { name, value }] = list else {
        return Err(Fault::unsupported("one parameter a command: each is a frame of its own"));
    };
    let factory = || match options.commissioning {
        Commissioning::Allow => Ok(()),
        Commissioning::Refuse => {
            Err(Fault::unsupported(format!("{name} is written at the factory only (option commissioning = allow)")))
        }
    };
    match name.as_str() {
        "settlement-day" => Ok((control::WRITE, di::SET_SETTLEMENT_DAY, vec![day(name, value)?])),
        "reading-day" => Ok((control::WRITE, di::SET_READING_DAY, vec![day(name, value)?])),
        "base-reading" => factory().and_then(|()| base(name, value)),
        "address" => factory().and_then(|()| address(name, value)),
        _ => Err(Fault::unsupported(format!("no public frame writes {name}"))),
    }
}

fn day(name: &str, value: &ParameterValue) -> Result<u8, Fault> {
    match value {
        ParameterValue::Integer(day @ 1..=31) => Ok((((day / 10) << 4) | (day % 10)) as u8),
        other => Err(Fault::out_of_range(name, shown(other), "a day, 1 to 31")),
    }
}

/// A016: 0.01 m³, said in m³ whatever the model's own unit is.
fn base(name: &str, value: &ParameterValue) -> Result<Request, Fault> {
    let total = match value {
        ParameterValue::Integer(n) => u64::try_from(*n).ok().and_then(bcd_le::<4>),
        _ => None,
    };
    let total = total.ok_or_else(|| Fault::out_of_range(name, shown(value), "0 to 99999999, in 0.01 m³"))?;
    Ok((control::WRITE_BASE, di::SET_BASE, [&total[..], &[value::CUBIC_METRE]].concat()))
}

/// A018. The meter answers from the new address.
fn address(name: &str, value: &ParameterValue) -> Result<Request, Fault> {
    let bytes = match value {
        ParameterValue::Text(digits) => address_bytes(digits).filter(|a| *a != [0x99; 7]),
        _ => None,
    };
    let bytes = bytes.ok_or_else(|| Fault::out_of_range(name, shown(value), "14 digits, not all 9"))?;
    Ok((control::WRITE_ADDRESS, di::SET_ADDRESS, bytes.to_vec()))
}

fn shown(value: &ParameterValue) -> String {
    match value {
        ParameterValue::Integer(n) => n.to_string(),
        ParameterValue::Text(text) => text.chars().take(32).collect(),
        ParameterValue::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

pub fn clock(options: &Options, to: Civil) -> Result<Request, Fault> {
    Ok((control::WRITE, di::SET_CLOCK, value::write_clock(options, "to", to)?.to_vec()))
}

/// A013: the sequence is the purchase count, which the meter has room for up to 99.
pub fn recharge(order: &Recharge) -> Result<Request, Fault> {
    if order.volume != 0 {
        return Err(Fault::unsupported("volume: a purchase is money"));
    }
    let sequence = u8::try_from(order.purchase_count).ok().filter(|n| *n >= 1).and_then(bcd::pack);
    let sequence = sequence.ok_or_else(|| Fault::out_of_range("purchase_count", order.purchase_count, "1 to 99"))?;
    let amount = u64::try_from(order.amount).ok().filter(|n| *n > 0).and_then(bcd_le::<4>);
    let amount = amount.ok_or_else(|| Fault::out_of_range("amount", order.amount, "0.01 to 999999.99 yuan"))?;
    Ok((control::WRITE, di::SET_PURCHASE, [&[sequence][..], &amount].concat()))
}

/// A010: three prices in 0.01 yuan, two limits in m³, and the day of the month from which they hold.
pub fn tariff(options: &Options, now: Civil, tariff: &Tariff) -> Result<Request, Fault> {
    if !tariff.on_meter {
        return Err(Fault::unsupported("on_meter: a price table makes the meter bill"));
    }
    let cycle = match tariff.cycle {
        polymeter_sdk::TariffCycle::Day => TariffCycle::Day,
        polymeter_sdk::TariffCycle::Month => TariffCycle::Month,
        polymeter_sdk::TariffCycle::TwoMonths => TariffCycle::TwoMonths,
        polymeter_sdk::TariffCycle::Quarter => TariffCycle::Quarter,
        polymeter_sdk::TariffCycle::Year => TariffCycle::Year,
    };
    if cycle != options.tariff_cycle {
        return Err(Fault::out_of_range("cycle", format!("{cycle:?}"), "what the meter follows (option tariff_cycle)"));
    }
    let ([p1, p2, p3], [l1, l2]) = (&tariff.prices[..], &tariff.limits[..]) else {
        return Err(Fault::out_of_range("prices", tariff.prices.len(), "three prices and two limits"));
    };
    let hundredth = |field: &str, n: u32, unit: &str| {
        let whole = Some(n).filter(|n| n.is_multiple_of(100)).and_then(|n| bcd_le::<3>(u64::from(n / 100)));
        whole.ok_or_else(|| Fault::out_of_range(field, n, unit))
    };
    let price = |n: u32| hundredth("prices", n, "hundredths of a yuan, below 10000 yuan");
    let limit = |n: u32| hundredth("limits", n, "whole m³, below a million");
    let day = start_day(now, tariff.effective)?;
    let body = [&price(*p1)?[..], &limit(*l1)?, &price(*p2)?, &limit(*l2)?, &price(*p3)?, &[day]].concat();
    Ok((control::WRITE, di::SET_PRICES, body))
}

/// The day of the month, when the next such day is the one meant.
fn start_day(now: Civil, effective: Civil) -> Result<u8, Fault> {
    let refuse = || Fault::out_of_range("effective", civil::text(effective), "a midnight within the month to come");
    let within =
        effective > now && civil::midnight(effective) == effective && effective.saturating_sub(now) <= 28 * civil::DAY;
    let day = civil::fields(effective).filter(|_| within).map(|t| t.day).ok_or_else(refuse)?;
    bcd::pack(day).ok_or_else(refuse)
}
