//! What a person sees of a run: one line that moves, and a summary.

use crate::check::{Findings, Tally};
use crate::fleet::{Outcome, Stage, Watch, lock};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Differences that are printed one by one.
const DIFFERENCES_SHOWN: usize = 25;

/// Keeps the line up to date until `over`.
pub fn follow(watch: &Watch, over: &AtomicBool) {
    let line = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        line.set_style(style);
    }
    while !over.load(Relaxed) {
        line.set_message(sentence(watch));
        line.tick();
        std::thread::sleep(Duration::from_millis(120));
    }
    line.finish_and_clear();
}

fn sentence(watch: &Watch) -> String {
    let world = lock(&watch.world).clone();
    match (*lock(&watch.stage), world) {
        (Stage::Preparing, _) => "the fleet is being built".into(),
        (Stage::Keys(done), _) => format!("{done} meter keys handed over"),
        (Stage::Living, Some(world)) => {
            let c = &world.counters;
            let load = |counter: &std::sync::atomic::AtomicU64| grouped(counter.load(Relaxed));
            format!(
                "fleet time {}   on line {}   reports {}   heartbeats {}   readings {}   orders {}   broken frames {}",
                world.time.now().to_string().replace('T', " "),
                load(&c.online),
                load(&c.reports),
                load(&c.heartbeats),
                load(&c.readings),
                load(&watch.orders),
                load(&c.broken),
            )
        }
        (Stage::Living, None) => "the fleet wakes up".into(),
        (Stage::SigningOff(meters), _) => format!("{} meters with orders call once more", grouped(meters as u64)),
        (Stage::CatchingUp, _) => "waiting until the station shows everything it has".into(),
        (Stage::Checking(done), _) => format!("checking the station's books: {} meters compared", grouped(done as u64)),
    }
}

/// The result, in words. (Writing into a string cannot fail.)
pub fn summary(outcome: &Outcome) -> String {
    let Findings { devices, reports, readings, events, commands_answered, broken, differences, families } =
        &outcome.findings;
    let tricks: Vec<String> = outcome.tricks.iter().map(|(trick, times)| format!("{trick} {times}")).collect();
    let mut text = format!(
        "{} devices, {} reports, {} readings and {} events acknowledged; {} commands answered; {} broken frames sent\n",
        grouped(*devices as u64),
        grouped(*reports),
        grouped(*readings),
        grouped(*events),
        grouped(*commands_answered),
        grouped(*broken),
    );
    if !tricks.is_empty() {
        let _ = writeln!(text, "on the way: {}", tricks.join(", "));
    }
    for line in &outcome.achieved.story {
        let _ = writeln!(text, "closed:  {line}");
    }
    text.push_str(&table(families));
    if differences.is_empty() {
        text.push_str("the station shows every one of them, to the last digit, once, and nothing else\n");
        return text;
    }
    let _ = writeln!(text, "{} differences between the meters' books and the station's:", differences.len());
    for difference in differences.iter().take(DIFFERENCES_SHOWN) {
        let _ = writeln!(text, "  {difference}");
    }
    if let Some(more) = differences.len().checked_sub(DIFFERENCES_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  … and {more} more");
    }
    text
}

/// Families, one a line.
fn table(families: &BTreeMap<String, Tally>) -> String {
    let mut text = format!("\n{:<30}{:>9}{:>10}{:>11}{:>7}\n", "family", "devices", "reports", "readings", "lost");
    for (family, tally) in families {
        let [devices, reports, readings, lost] =
            [tally.devices, tally.reports, tally.readings, tally.lost].map(grouped);
        let _ = writeln!(text, "{family:<30}{devices:>9}{reports:>10}{readings:>11}{lost:>7}");
    }
    text.push('\n');
    text
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
