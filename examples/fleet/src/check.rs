//! The meters' books against the station's: every acknowledged value is there to the last digit, once, and nothing else is.

use crate::api::{Api, escape};
use crate::orders::{Order, Orders};
use crate::truth::{Account, Event, Reading};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// One point on which meter and station disagree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub device: String,
    /// By the meter's clock; empty where it has no time.
    pub at: String,
    pub expected: String,
    pub got: String,
}

/// What was compared.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub devices: usize,
    pub reports: u64,
    pub readings: u64,
    pub events: u64,
    pub commands_answered: u64,
    pub broken: u64,
    pub differences: Vec<Difference>,
    pub families: BTreeMap<String, Tally>,
}

/// One family of devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub devices: u64,
    pub reports: u64,
    pub readings: u64,
    /// Differences.
    pub lost: u64,
}

/// What a meter does that leaves a command without an answer.
const GONE: [&str; 4] = ["answer lost", "acknowledgement lost", "cut", "left in silence"];
/// Clients that ask at the same time.
const THREADS: usize = 3;

/// Compares everything. `progress` hears how many devices are done.
pub fn check(api: &Api, accounts: &[&Account], orders: &Orders, progress: &(dyn Fn(usize) + Sync)) -> Result<Findings> {
    let mut findings = Findings { devices: accounts.len(), ..Findings::default() };
    let ends = commands(api, accounts, orders, &mut findings)?;
    let promises = promises(orders, &ends);
    let shown = devices(api)?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new((&mut findings, None));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let api = api.another();
                while let Some(account) = accounts.get(next.fetch_add(1, Relaxed)) {
                    let promise = promises.get(account.device.as_str());
                    let found = one_device(&api, account, promise, shown.get(&account.device)).map(|mut found| {
                        let Findings { reports, readings, .. } = found;
                        let tally = Tally { devices: 1, reports, readings, lost: 0 };
                        found.families.insert(account.family.clone(), tally);
                        found
                    });
                    let Ok(mut done) = done.lock() else { return };
                    match found {
                        Ok(found) => done.0.add(found),
                        Err(error) => done.1 = Some(error.context(account.device.clone())),
                    }
                    if done.1.is_some() {
                        return;
                    }
                    progress(next.load(Relaxed).min(accounts.len()));
                }
            });
        }
    });
    if let Some(error) = done.into_inner().ok().and_then(|(_, error)| error) {
        return Err(error);
    }
    let known: BTreeSet<&str> = accounts.iter().map(|a| a.device.as_str()).collect();
    for device in shown.keys().filter(|device| !known.contains(device.as_str())) {
        findings.differ(device, "", "no such device in the fleet", "a device");
    }
    quarantine(api, accounts, &mut findings)?;
    findings.differences.sort();
    let family_of: BTreeMap<&str, &String> = accounts.iter().map(|a| (&a.device[..], &a.family)).collect();
    for difference in &findings.differences {
        let family = family_of.get(&difference.device[..]).map_or_else(|| "of no device".into(), |f| (*f).clone());
        findings.families.entry(family).or_default().lost += 1;
    }
    Ok(findings)
}

impl Findings {
    fn differ(&mut self, device: &str, at: &str, expected: impl Into<String>, got: impl Into<String>) {
        let (device, at) = (device.to_owned(), at.to_owned());
        self.differences.push(Difference { device, at, expected: expected.into(), got: got.into() });
    }

    fn add(&mut self, other: Self) {
        self.reports += other.reports;
        self.readings += other.readings;
        self.events += other.events;
        for (family, other) in other.families {
            let tally = self.families.entry(family).or_default();
            tally.devices += other.devices;
            tally.reports += other.reports;
            tally.readings += other.readings;
        }
        self.differences.extend(other.differences);
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: expected {}, got {}", self.device, self.at, self.expected, self.got)
    }
}

/// History that was asked for.
#[derive(Debug, Default)]
struct Promise<'a> {
    /// Of orders that are done: must be there.
    kept: Vec<&'a Reading>,
    /// Of others: may be there.
    open: Vec<&'a Reading>,
}

fn promises<'a>(orders: &'a Orders, ends: &BTreeMap<u64, String>) -> BTreeMap<&'a str, Promise<'a>> {
    let mut promises = BTreeMap::<&str, Promise<'_>>::new();
    for order in orders.taken.iter().filter(|order| !order.promised.is_empty()) {
        let promise = promises.entry(&order.device).or_default();
        let done = ends.get(&order.id).is_some_and(|state| state == "done");
        if done { &mut promise.kept } else { &mut promise.open }.extend(&order.promised);
    }
    promises
}

/// All devices that the station shows, by key.
fn devices(api: &Api) -> Result<BTreeMap<String, Value>> {
    let rows = api.rows("devices")?;
    let keyed = |row: Value| Some((row.get("device")?.as_str()?.to_owned(), row));
    Ok(rows.into_iter().filter_map(keyed).collect())
}

fn one_device(api: &Api, account: &Account, promise: Option<&Promise>, shown: Option<&Value>) -> Result<Findings> {
    let mut found = Findings { reports: account.reports, ..Findings::default() };
    let device = &account.device;
    for complaint in account.unheard.iter().chain(&account.objections) {
        found.differ(device, "", "", complaint);
    }
    let Some(shown) = shown else {
        if !account.acknowledged.readings.is_empty() {
            found.differ(device, "", "a device", "none of this key");
        }
        return Ok(found);
    };
    let path = device.split_once('/').map(|(realm, address)| format!("devices/{}/{}", escape(realm), escape(address)));
    let path = path.context("a device without realm")?;
    readings(&api.rows(&format!("{path}/readings"))?, account, promise, &mut found);
    events(&api.rows(&format!("{path}/events"))?, account, &mut found);
    valve(shown, account, &mut found);
    Ok(found)
}

/// A reading as both sides can compare it: time, what, and the digits.
type Row = (String, String, String, String, String);

fn row_of(reading: &Reading) -> Row {
    let at = if reading.at == Reading::UNDATED { String::new() } else { reading.at.to_string() };
    (at, reading.quantity.into(), reading.role.into(), reading.digits(), reading.unit.into())
}

fn readings(rows: &[Value], account: &Account, promise: Option<&Promise>, found: &mut Findings) {
    let mut shown: BTreeMap<Row, usize> = BTreeMap::new();
    for row in rows {
        let word = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let row = (word("at"), word("quantity"), word("role"), word("value"), word("unit"));
        *shown.entry(row).or_default() += 1;
    }
    let undated = |row: &Row| (String::new(), row.1.clone(), row.2.clone(), row.3.clone(), row.4.clone());
    let counted = |(reading, alike): (&Reading, &usize)| (row_of(reading), *alike);
    let mut must: BTreeMap<Row, usize> = account.acknowledged.readings.iter().map(counted).collect();
    let mut may: BTreeMap<Row, usize> = account.uncertain.readings.iter().map(counted).collect();
    if let Some(promise) = promise {
        must.extend(promise.kept.iter().map(|reading| (row_of(reading), 1)));
        may.extend(promise.open.iter().map(|reading| (row_of(reading), 1)));
    }
    for (row, alike) in &must {
        found.readings += *alike as u64;
        let there = if row.0.is_empty() {
            shown.keys().any(|s| undated(s) == *row)
        } else {
            shown.get(row).is_some_and(|times| times >= alike)
        };
        if !there {
            let instead = shown.keys().find(|s| s.0 == row.0 && s.1 == row.1 && s.2 == row.2);
            let got = instead.map_or_else(|| "nothing".into(), text);
            found.differ(&account.device, &row.0, text(row), got);
        }
    }
    for (row, times) in shown {
        let of = |row: &Row| must.get(row).max(may.get(row)).copied();
        let known = of(&row).or(of(&undated(&row)));
        if known.is_none() {
            found.differ(&account.device, &row.0, "nothing that the meter sent", text(&row));
        } else if known.is_some_and(|alike| times > alike) {
            found.differ(&account.device, &row.0, text(&row), format!("{times} times"));
        }
    }
}

fn text((_, quantity, role, value, unit): &Row) -> String {
    format!("{role} {quantity} {value} {unit}")
}

fn events(rows: &[Value], account: &Account, found: &mut Findings) {
    let mut shown = BTreeMap::<Event, usize>::new();
    for row in rows {
        let word = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let Ok(at) = word("at").parse() else {
            found.differ(&account.device, word("at"), "an event with a time", row.to_string());
            continue;
        };
        let cleared = row.get("cleared").and_then(Value::as_bool).unwrap_or_default();
        let event = Event { at, code: word("code").into(), cleared, value: row.get("value").and_then(Value::as_i64) };
        *shown.entry(event).or_default() += 1;
    }
    for event in &account.acknowledged.events {
        found.events += 1;
        if !shown.contains_key(event) {
            found.differ(&account.device, &event.at.to_string(), event.to_string(), "nothing");
        }
    }
    for (event, times) in shown {
        if !account.acknowledged.events.contains(&event) && !account.uncertain.events.contains(&event) {
            found.differ(&account.device, &event.at.to_string(), "no such event", event.to_string());
        } else if times > 1 {
            found.differ(&account.device, &event.at.to_string(), event.to_string(), format!("{times} times"));
        }
    }
}

fn valve(shown: &Value, account: &Account, found: &mut Findings) {
    let state = shown.pointer("/valve/state").and_then(Value::as_str).unwrap_or("nothing");
    if !account.valves.is_empty() && !account.valves.contains(&state) {
        found.differ(&account.device, "", format!("valve {}", account.valves.join(" or ")), format!("valve {state}"));
    }
}

/// Every broken frame was kept, byte for byte, and nothing else was.
fn quarantine(api: &Api, accounts: &[&Account], findings: &mut Findings) -> Result<()> {
    let mut kept: BTreeMap<String, i64> = BTreeMap::new();
    let rows = api.rows("quarantine")?;
    for row in &rows {
        let raw = row.get("raw").and_then(Value::as_str).context("quarantine: a row without `raw`")?;
        *kept.entry(raw.to_owned()).or_default() += 1;
    }
    for account in accounts {
        for broken in &account.broken {
            findings.broken += 1;
            let left = kept.entry(hex::encode(&broken.bytes)).or_default();
            if *left > 0 || broken.surely {
                *left -= 1;
            }
            if *left < 0 {
                let bytes = hex::encode(&broken.bytes);
                findings.differ(&account.device, "", format!("in quarantine ({}): {bytes}", broken.how), "nothing");
                *left = 0;
            }
        }
    }
    for (raw, _) in kept.iter().filter(|(_, left)| **left > 0) {
        let row = rows.iter().find(|row| row.get("raw").and_then(Value::as_str) == Some(raw));
        findings.differ("quarantine", "", "no such bytes", row.map(Value::to_string).unwrap_or_default());
    }
    Ok(())
}

/// Every order came to the end that its meter gave it, and no valve moved oftener than it was told to. Gives how each ended.
fn commands(
    api: &Api,
    accounts: &[&Account],
    orders: &Orders,
    findings: &mut Findings,
) -> Result<BTreeMap<u64, String>> {
    for objection in &orders.objections {
        findings.differ("orders", "", "", objection);
    }
    let rows = api.rows("commands")?;
    let by_id: BTreeMap<u64, &Value> = rows.iter().filter_map(|row| Some((row.get("id")?.as_u64()?, row))).collect();
    let gone = |a: &&&Account| a.tricks.keys().any(|trick| GONE.contains(trick));
    let unheard: BTreeSet<&str> = accounts.iter().filter(gone).map(|a| a.device.as_str()).collect();
    // Valve orders of a device: how many there were, and how many it has confirmed with an answer.
    let mut told_to: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for order in &orders.taken {
        let Some(row) = by_id.get(&order.id) else {
            findings.differ(&order.device, "", format!("command {} ({})", order.id, order.name), "none");
            continue;
        };
        findings.commands_answered += u64::from(row.get("outcome").is_some());
        let valve = told_to.entry(&order.device).or_default();
        valve.0 += usize::from(order.is_valve);
        let done = row.get("outcome").is_some_and(|outcome| outcome == "done" || outcome == "accepted");
        valve.1 += usize::from(order.is_valve && done);
        if let Some(wanted) = unexpected_end(order, row, unheard.contains(&order.device[..])) {
            let expected = format!("command {} ({}): {wanted}", order.id, order.name);
            findings.differ(&order.device, "", expected, row.to_string());
        }
    }
    for account in accounts {
        let (ordered, answered) = told_to.get(account.device.as_str()).copied().unwrap_or_default();
        let moves = account.met.iter().filter(|met| met.carried_out && met.is_valve);
        let ids: Vec<Option<u32>> = moves.map(|met| met.order_id).collect();
        let twice = ids.iter().flatten().any(|id| ids.iter().filter(|other| **other == Some(*id)).count() > 1);
        if twice || !(answered..=ordered).contains(&ids.len()) {
            let expected = format!("{answered} to {ordered} valve orders, each carried out once");
            findings.differ(&account.device, "", expected, format!("{} moves, orders {ids:?}", ids.len()));
        }
    }
    let state = |row: &Value| row.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(by_id.into_iter().map(|(id, row)| (id, state(row))).collect())
}

/// What the order should have come to, if it has not. `unheard`: the meter has left early, or its answers were lost.
fn unexpected_end(order: &Order, row: &Value, unheard: bool) -> Option<&'static str> {
    let word = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
    let (state, why) = (word("state"), word("why"));
    match (order.possible, state) {
        (true, "done") | (false, "failed" | "refused") => None,
        // Locked by the station or by the meter itself: it would have to be unlocked first.
        (true, "refused" | "failed") if order.may_be_locked && why.contains("not-allowed") => None,
        // Sent into a connection that was gone, and never again: the meter's own state has shown that it did not happen.
        (true, "failed") if order.is_valve && !order.numbered && why.contains("not executed") => None,
        // Taken, but the next order came before a report could show that it was carried out.
        (true, "unconfirmed") if order.is_valve && !order.numbered && why.contains("never confirmed") => None,
        // No report shows whether parameters were set, and nobody may set them twice unasked.
        (true, "unconfirmed") if !order.numbered && order.name == "set parameters" && unheard => None,
        (true, _) => Some("done"),
        (false, _) => Some("failed: the protocol cannot do it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::Meaning;
    use polymeter::model::Civil;
    use serde_json::json;

    fn reading(at: i64, mantissa: i64) -> Reading {
        let (quantity, role, unit) = ("working-volume", "frozen", "cubic-metre");
        Reading { at: Civil(at), quantity, role, unit, mantissa, exponent: -2 }
    }
    fn shown(at: i64, value: &str) -> Value {
        json!({"at": Civil(at).to_string(), "quantity": "working-volume", "role": "frozen", "unit": "cubic-metre", "value": value})
    }
    fn account() -> Account {
        let mut account = Account::new("usp/1".into());
        let says = |at, mantissa| Meaning { readings: vec![reading(at, mantissa)], ..Meaning::default() };
        account.acknowledged(&says(0, 123_456));
        account.sent(&says(86_400, 123_500));
        account
    }
    fn differences(rows: &[Value]) -> Vec<String> {
        let mut found = Findings::default();
        readings(rows, &account(), None, &mut found);
        found.differences.iter().map(|d| format!("{} / {}", d.expected, d.got)).collect()
    }

    /// Each row: what the station shows, and what must be found wrong with it.
    #[test]
    fn every_kind_of_difference_is_seen() {
        let there = "frozen working-volume 1234.56 cubic-metre";
        for (rows, wrong) in [
            (vec![shown(0, "1234.56")], vec![]),
            (vec![shown(0, "1234.56"), shown(86_400, "1235.00")], vec![]),
            (vec![], vec![format!("{there} / nothing")]),
            (vec![shown(0, "1234.56"), shown(0, "1234.56")], vec![format!("{there} / 2 times")]),
            (
                vec![shown(0, "1234.560")],
                vec![
                    format!("{there} / frozen working-volume 1234.560 cubic-metre"),
                    "nothing that the meter sent / frozen working-volume 1234.560 cubic-metre".into(),
                ],
            ),
            (
                vec![shown(0, "1234.56"), shown(5, "1.00")],
                vec!["nothing that the meter sent / frozen working-volume 1.00 cubic-metre".into()],
            ),
        ] {
            assert_eq!(differences(&rows), wrong, "{rows:?}");
        }
    }
}
