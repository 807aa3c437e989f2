//! What happens in one communication: why it takes place, what the meter sees of the world, and what goes wrong on the way.
//!
//! A plan follows from the member's seed and the moment alone, so that the same seed plays the same night again.

use crate::gauge::mix;
use crate::population::{Member, Secrecy, Transport, Vendor};
use polymeter::model::{Civil, Day, ReportPeriod};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Why the meter goes on line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occasion {
    /// Its schedule says so.
    Scheduled,
    /// It has closed its valve, or seen something that cannot wait.
    Abnormal(Trouble),
    /// Somebody presses the button: at the end every meter says once more how it stands.
    Manual,
}

/// What a meter cannot keep to itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    GasLeak,
    Overflow,
    StrongMagnet,
    Earthquake,
}

/// What goes wrong, apart from the meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mishap {
    None,
    /// Bytes that are nobody's, before the report.
    Noise(Vec<u8>),
    /// The report arrives once with a wrong check sum, and then properly.
    WrongSum,
    /// The report breaks off, and with it the connection.
    Cut,
    /// The report arrives, its acknowledgement does not.
    LostAcknowledgement,
    /// The acknowledgement comes too late for the meter: it says the same again.
    SaidTwice,
    /// A second scheduled report in the same communication, against the rules. Alarms may be told as often as there are any.
    SecondReport,
    /// Somebody has changed a secured frame on its way and knows how to repair the check sum.
    Tampered,
}

/// What the meter sees of the world just now. `None`: it has no such sensor.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// 0.1 dBm
    pub rsrp: i16,
    /// 0.1 dB
    pub snr: i16,
    pub csq: u8,
    pub ecl: u8,
    /// mV
    pub battery: u16,
    /// 0.01 °C
    pub temperature: Option<i16>,
    /// 0.1 kPa
    pub pressure: Option<u16>,
    /// 0.001 m³/h
    pub flow: Option<u32>,
    /// 0.01 yuan
    pub balance: Option<i32>,
}

/// Something noted the day before, by alarm bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noted {
    pub bit: u8,
    pub cleared: bool,
    pub at: Civil,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub occasion: Occasion,
    /// When the meter's own clock makes it wake.
    pub slot: Civil,
    /// How much later it gets through.
    pub late_s: i64,
    pub mishap: Mishap,
    pub surroundings: Surroundings,
    pub noted: Vec<Noted>,
    /// What the clock gains or loses until the next time.
    pub drift_s: i64,
}

impl Plan {
    pub fn draw(member: &Member, occasion: Occasion, slot: Civil) -> Self {
        let mut rng = StdRng::seed_from_u64(mix(member.seed, slot.0 as u64));
        let surroundings = surroundings(member, slot, &mut rng);
        let scheduled = occasion == Occasion::Scheduled;
        let late = scheduled && rng.random_bool(0.05);
        let noted = if scheduled && rng.random_bool(0.08) { noted(slot.day(), &mut rng) } else { Vec::new() };
        let mishap = match (occasion, mishap(member, &mut rng)) {
            (Occasion::Manual, _) | (Occasion::Abnormal(_), Mishap::SecondReport) => Mishap::None,
            (_, mishap) => mishap,
        };
        Self {
            occasion,
            slot,
            late_s: if late { rng.random_range(1_800..9 * 3_600) } else { 0 },
            mishap,
            surroundings,
            noted,
            drift_s: rng.random_range(-12..=12),
        }
    }

    /// When the meter is really heard, by its own clock.
    pub fn speaks_at(&self) -> Civil {
        Civil(self.slot.0 + self.late_s)
    }
}

/// The one moment of trouble that some members have in `from..to`.
pub fn trouble(member: &Member, from: Civil, to: Civil) -> Option<(Civil, Trouble)> {
    let mut rng = StdRng::seed_from_u64(mix(member.seed, 5));
    let troubles = [Trouble::GasLeak, Trouble::Overflow, Trouble::StrongMagnet, Trouble::Earthquake];
    let which = troubles[rng.random_range(0..troubles.len())];
    let at = Civil(rng.random_range(from.0..to.0.max(from.0 + 1)));
    rng.random_bool(0.06).then_some((at, which))
}

/// The 00:00 days that a dekad or monthly report of that day carries: from the day after the last report to this one.
pub fn days_of(period: ReportPeriod, today: Day) -> std::ops::RangeInclusive<i32> {
    let date = today.start().to_jiff().map_or(1, |date| i32::from(date.day()));
    let last_month = || {
        let yesterday = Day(today.0 - date).start().to_jiff();
        yesterday.map_or(30, |date| i32::from(date.days_in_month()))
    };
    let days = match period {
        ReportPeriod::Monthly => last_month() - (1 - date),
        ReportPeriod::Dekad if date >= 21 => date - 11,
        ReportPeriod::Dekad if date >= 11 => date - 1,
        ReportPeriod::Dekad => last_month() - 21 + date,
        _ => 1,
    };
    today.0 - days.clamp(1, 31) + 1..=today.0
}

fn surroundings(member: &Member, slot: Civil, rng: &mut StdRng) -> Surroundings {
    // Sensors are fitted or not, once and for all.
    let fitted = |sensor: u64| mix(member.seed, sensor) % 10 < 4;
    let age_days = (slot.0 / 86_400 % 64) as u16;
    Surroundings {
        rsrp: rng.random_range(-1_250..-650),
        snr: rng.random_range(-80..250),
        csq: rng.random_range(5..=31),
        ecl: rng.random_range(0..=2),
        battery: 3_300 + (mix(member.seed, 21) % 300) as u16 - age_days,
        temperature: fitted(22).then(|| rng.random_range(-2_000..4_500)),
        pressure: fitted(23).then(|| rng.random_range(980..1_240)),
        flow: fitted(24).then(|| rng.random_range(0..6_000)),
        balance: fitted(25).then(|| rng.random_range(-5_000..90_000)),
    }
}

/// One or two things of the day before.
fn noted(today: Day, rng: &mut StdRng) -> Vec<Noted> {
    let yesterday = Day(today.0 - 1).start().0;
    let at = yesterday + rng.random_range(0..80_000);
    let bit = [1, 5, 6, 10, 11, 13, 14][rng.random_range(0..7)];
    let mut noted = vec![Noted { bit, cleared: false, at: Civil(at) }];
    if rng.random_bool(0.5) {
        noted.push(Noted { bit, cleared: true, at: Civil(at + rng.random_range(60..6_000)) });
    }
    noted
}

fn mishap(member: &Member, rng: &mut StdRng) -> Mishap {
    let stream = member.transport == Transport::Tcp;
    let secured_usp = member.vendor == Vendor::Usp && member.secrecy != Secrecy::Plain;
    match rng.random_range(0..100) {
        0..2 if stream => {
            let length = rng.random_range(1..=12);
            // 68 and 69 begin the frames of all protocols here; noise that does would be a broken frame.
            Mishap::Noise((0..length).map(|_| rng.random_range(0x80..=0xFF)).collect())
        }
        2..4 => Mishap::WrongSum,
        4..6 if stream => Mishap::Cut,
        6..9 => Mishap::LostAcknowledgement,
        // Answered with the end of the communication, the first of two would be all that the station reads.
        9..12 if member.vendor != Vendor::Fengxian => Mishap::SaidTwice,
        12..14 if member.vendor == Vendor::Usp => Mishap::SecondReport,
        14..19 if secured_usp => Mishap::Tampered,
        _ => Mishap::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_of_a_report_follow_the_calendar() {
        for (period, today, first) in [
            (ReportPeriod::Daily, "2024-03-15", "2024-03-15"),
            (ReportPeriod::Dekad, "2024-03-11", "2024-03-02"),
            (ReportPeriod::Dekad, "2024-03-21", "2024-03-12"),
            (ReportPeriod::Dekad, "2024-03-01", "2024-02-22"),
            (ReportPeriod::Dekad, "2024-04-01", "2024-03-22"),
            (ReportPeriod::Monthly, "2024-03-01", "2024-02-02"),
            (ReportPeriod::Monthly, "2024-04-01", "2024-03-02"),
        ] {
            let day = |text: &str| text.parse::<Day>().expect("day");
            assert_eq!(days_of(period, day(today)), day(first).0..=day(today).0, "{period:?} on {today}");
        }
    }

    #[test]
    fn a_plan_is_the_same_each_time() {
        let from: Civil = "2024-02-26T12:00:00".parse().expect("time");
        let member = Member::draw(7, 3, from, crate::population::Offers::ALL);
        let draw = || format!("{:?}", Plan::draw(&member, Occasion::Scheduled, from));
        assert_eq!(draw(), draw());
    }

    #[test]
    fn only_scheduled_reports_are_said_a_second_time_against_the_rules() {
        let from: Civil = "2024-02-26T12:00:00".parse().expect("time");
        let seconds = |occasion| {
            let members = (0..2_000).map(|number| Member::draw(7, number, from, crate::population::Offers::ALL));
            members.filter(|member| Plan::draw(member, occasion, from).mishap == Mishap::SecondReport).count()
        };
        assert!(seconds(Occasion::Scheduled) > 0);
        assert_eq!(seconds(Occasion::Abnormal(Trouble::GasLeak)), 0);
        assert_eq!(seconds(Occasion::Manual), 0);
    }
}
