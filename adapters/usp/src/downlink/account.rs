//! 4041 recharge, 4042 tariff, 4043 balance sync, 4044 read account.

use super::{Order, Rest};
use crate::fields::{self, clock_bytes, fit, present_i32, present_u32};
use crate::frame::message;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{
    AnswerBody, BalanceLevel, BalanceSync, Fault, Message, Quantity, Recharge, Register, Report, ReportCause, Role,
    Tariff, TariffCycle, Unit,
};

const MONEY: &str = "-2147483647..=2147483647 hundredths of a yuan";

// 4041: order id 4, purchase count 2, amount 4, volume 4, purchased total 4.
pub fn recharge(recharge: &Recharge) -> Result<Order, Fault> {
    let mut body = Vec::with_capacity(18);
    body.extend_from_slice(&recharge.order_id.to_le_bytes());
    body.extend_from_slice(&recharge.purchase_count.to_le_bytes());
    body.extend_from_slice(&money("amount", recharge.amount)?.to_le_bytes());
    let volume: u32 = fit("volume", recharge.volume, "0..=4294967295 hundredths of a m³")?;
    body.extend_from_slice(&volume.to_le_bytes());
    body.extend_from_slice(&money("purchased_total", recharge.purchased_total)?.to_le_bytes());
    // Only of valve orders is it said that an id is executed once (§G 4). Money is not staked on a guess: the account, read
    // with 4044, shows whether the purchase has arrived.
    Ok(Order { repeatable: false, ..Order::new(message::RECHARGE, body) })
}

/// Order id u32, new balance i32, purchase count u16.
pub fn recharge_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let _order_id = r.u32_le("order id")?;
    let balance = r.i32_le("new balance")?;
    let _purchase_count = r.u16_le("purchase count")?;
    Ok(AnswerBody::Balance(i64::from(balance)).into())
}

// 4042:
// | Off | Size | Field                     | Off    | Size  | Field                            |
// |   0 |    2 | plan id                   |     10 |     6 | T6, cycle start                  |
// |   2 |    6 | T6, effective             |     16 |     1 | steps n, 1..6                    |
// |   8 |    1 | 0 centre, 1 meter bills   |     17 |  4n-4 | limits                           |
// |   9 |    1 | cycle 0..4                |  13+4n |    4n | prices, 0.0001 yuan              |
pub fn tariff(tariff: &Tariff) -> Result<Order, Fault> {
    let steps = tariff.prices.len();
    if !(1..=6).contains(&steps) {
        return Err(Fault::out_of_range("prices", steps, "1..=6 steps"));
    }
    if tariff.limits.len() + 1 != steps || !tariff.limits.is_sorted() {
        return Err(Fault::out_of_range("limits", format!("{:?}", tariff.limits), "rising, one fewer than prices"));
    }
    let cycle = match tariff.cycle {
        TariffCycle::Day => 0,
        TariffCycle::Month => 1,
        TariffCycle::TwoMonths => 2,
        TariffCycle::Quarter => 3,
        TariffCycle::Year => 4,
    };
    let mut body = Vec::with_capacity(17 + 8 * steps);
    body.extend_from_slice(&tariff.plan.to_le_bytes());
    body.extend_from_slice(&clock_bytes("effective", tariff.effective)?);
    body.extend_from_slice(&[u8::from(tariff.on_meter), cycle]);
    body.extend_from_slice(&clock_bytes("cycle_start", tariff.cycle_start)?);
    body.push(steps as u8);
    body.extend(tariff.limits.iter().chain(&tariff.prices).flat_map(|value| value.to_le_bytes()));
    Ok(Order::new(message::TARIFF, body))
}

// 4043: balance 4, price 4, state 1 (0 normal, 1 low, 2 exhausted), settled total 4, T6 of the settlement.
pub fn balance(sync: &BalanceSync) -> Result<Order, Fault> {
    let level = match sync.level {
        BalanceLevel::Normal => 0,
        BalanceLevel::Low => 1,
        BalanceLevel::Exhausted => 2,
    };
    let mut body = Vec::with_capacity(19);
    body.extend_from_slice(&money("balance", sync.balance)?.to_le_bytes());
    body.extend_from_slice(&sync.price.to_le_bytes());
    body.push(level);
    body.extend_from_slice(&sync.settled_total.to_le_bytes());
    body.extend_from_slice(&clock_bytes("settled_at", sync.settled_at)?);
    // What has flowed between two of them would be given back.
    Ok(Order { repeatable: false, ..Order::new(message::BALANCE, body) })
}

/// Balance i32.
pub fn balance_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    Ok(AnswerBody::Balance(i64::from(r.i32_le("balance")?)).into())
}

/// The 19 bytes of 4043, purchase count u16, plan id u16.
pub fn account_answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let balance = present_i32(r.i32_le("balance")?);
    let price = r.u32_le("price")?;
    let level = r.u8("balance state")?;
    let settled_total = present_u32(r.u32_le("settled total")?);
    let settled_at = fields::clock(r, "settlement time")?;
    let purchases = r.u16_le("purchase count")?;
    let plan = r.u16_le("plan id")?;
    let mut registers = Vec::with_capacity(5);
    if let Some(balance) = balance {
        registers.push(Register::new(Quantity::Balance, Unit::Yuan, i64::from(balance), -2));
    }
    registers.push(Register::new(Quantity::Price, Unit::YuanPerCubicMetre, i64::from(price), -4));
    if let Some(total) = settled_total {
        // Which of the two totals was settled is not said; as the last settlement it is storage 1, beside the reading of now.
        let settled = Register::new(Quantity::Volume, Unit::CubicMetre, i64::from(total), -2);
        let mut settled = settled.with_role(Role::Frozen).with_storage(1);
        settled.at = settled_at.unwrap_or_default();
        registers.push(settled);
    }
    registers.push(Register::cumulative(Quantity::PurchaseCount, Unit::None, i64::from(purchases), 0));
    registers.push(Register::new(Quantity::Identity, Unit::None, i64::from(plan), 0).with_role(Role::SetPoint));
    let alarm = match level {
        0 => None,
        1 => Some("balance-low".into()),
        2 => Some("balance-exhausted".into()),
        other => Some(format!("vendor-balance-state-{other}")),
    };
    let alarms = alarm.into_iter().collect();
    let beside = settled_at.err().map(|packed| Message::unknown("settlement time", &packed));
    let report = Report { registers, alarms, ..Report::new(ReportCause::OnDemand) };
    Ok(Rest { beside, ..AnswerBody::Report(report).into() })
}

/// The smallest i32 means "absent" on the wire.
fn money(field: &str, value: i64) -> Result<i32, Fault> {
    let money: i32 = fit(field, value, MONEY)?;
    present_i32(money).ok_or_else(|| Fault::out_of_range(field, value, MONEY))
}
