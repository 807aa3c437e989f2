//! Views when the clock was set, and when days are dropped.

use super::tests::{NOON_MS, Station, device, readings, standing, volume};
use super::*;
use crate::journal::{CommandFact, CommandStep, Entry, Fact};
use crate::model::{AnswerBody, Command, HexBytes, KeySlot, Outcome, ReadScope};

#[test]
fn a_reading_of_the_future_is_kept_and_is_not_the_latest() {
    let station = Station::new("future");
    let today = station.clock.civil(NOON_MS).0;
    let future = today + 20_000 * 86_400;
    let latest = || {
        let views = station.views();
        let rows = views.newest_readings(&device("1")).expect("reads");
        rows.iter().map(|row| (row.at.0, row.register.mantissa)).collect::<Vec<_>>()
    };
    // As long as there is nothing else, it is better than nothing.
    station.tell(volume("1", future, 99));
    assert_eq!(latest(), [(future, 99)]);
    // A day ahead is a matter of clocks and zones; two are not.
    for (at, mantissa, shown) in [(today, 1, 1), (today + 86_400, 2, 2), (today + 2 * 86_400, 98, 2), (today, 3, 2)] {
        station.tell(volume("1", at, mantissa));
        assert_eq!(latest()[0].1, shown, "{at}");
    }
    let listed = readings(&station.views(), "1");
    assert!(listed.iter().any(|row| row.0 == future) && listed.len() == 5, "{listed:?}");
}

#[test]
fn pages_of_frames_lose_none_when_the_clock_was_set_and_tell_of_none_that_is_gone() {
    let station = Station::new("frame-pages");
    // Years ahead for a while, then right again, then lost.
    for (days, address) in [(0, "1"), (0, "2"), (1, "1"), (1_400, "1"), (1_400, "2"), (1, "1"), (2, "1"), (-1_500, "1")]
    {
        let fact = volume(address, 1_000, 7);
        station.journal.append_blocking(Entry { at_ms: NOON_MS + days * 86_400_000, fact }).expect("appends");
    }
    let views = station.views();
    let pages = |oldest, rows_max| {
        let (mut all, mut next) = (Vec::new(), None::<String>);
        loop {
            let page = views.frames(&device("1"), next.as_deref(), Seq(oldest), rows_max).expect("reads");
            assert!(!page.rows.is_empty() && page.rows.len() <= rows_max, "{page:?}");
            all.extend(page.rows.iter().map(|seq| seq.0));
            next = page.next;
            if next.is_none() {
                return all;
            }
        }
    };
    for rows_max in [1, 2, 3, 10] {
        assert_eq!(pages(1, rows_max), [4, 7, 6, 3, 1, 8]);
        assert_eq!(pages(6, rows_max), [7, 6, 8], "what the journal has dropped is not listed");
    }
    assert!(matches!(views.frames(&device("1"), Some("7"), Seq(1), 1), Err(ViewError::Place(_))));
}

#[test]
fn commands_that_are_not_finished_outlive_the_days_that_told_of_them() {
    use crate::journal::{Round, Settlement};
    use crate::model::{Valve, ValveOrder};
    let station = Station::new("retold-commands");
    let tell = |id, step| station.tell(Fact::Command(CommandFact { id, device: device("1"), step }));
    let valve = || {
        let order = ValveOrder::CloseForced;
        Command::Valve(Valve { order, order_id: Some(1), valid_until: Some(Civil(7)), reason: "gas-leak".into() })
    };
    let round = Some(Round { poll: "daily".into(), due: Civil(9) });
    let ask = |command, round| {
        let (by, note) = ("anna".into(), "a note".into());
        CommandStep::Requested { command, by, note, expires_ms: NOON_MS + 90 * 86_400_000, round }
    };
    let sent = || CommandStep::Sent {
        attempt: 2,
        session: 3,
        correlation: HexBytes(vec![1]),
        repeatable: true,
        frames: vec![HexBytes(vec![2])],
        memory: None,
        answer_by_ms: 5,
        through: None,
    };
    let unconfirmed = || CommandStep::Unconfirmed { why: "silence".into() };
    let settled = CommandStep::Settled { outcome: Settlement::Done, by: "bob".into(), note: "looked".into() };
    let read = Command::Read { scope: ReadScope::Current };
    let accepted = CommandStep::Answered {
        outcome: Outcome::Accepted,
        reason: "later".into(),
        raw_code: 4,
        body: AnswerBody::None,
    };
    let key_missing = || CommandStep::KeyMissing(KeySlot { device: device("1"), slot: "main".into() });
    let late = |outcome| CommandStep::Late { outcome, reason: "late".into(), raw_code: 0, body: AnswerBody::None };
    let stories = [
        vec![ask(valve(), None), sent(), unconfirmed(), late(Outcome::Done)],
        vec![ask(valve(), None), sent(), accepted.clone(), late(Outcome::Refused)],
        vec![ask(valve(), None), sent(), unconfirmed(), late(Outcome::Refused), settled.clone()],
        vec![ask(read.clone(), round)],
        vec![ask(read.clone(), None), sent(), CommandStep::TimedOut { attempt: 2 }],
        vec![ask(valve(), None), sent()],
        vec![ask(valve(), None), sent(), unconfirmed()],
        vec![ask(valve(), None), sent(), accepted],
        vec![ask(valve(), None), sent(), unconfirmed(), unconfirmed()],
        vec![ask(valve(), None), sent(), unconfirmed(), settled],
        vec![ask(valve(), None), key_missing()],
        vec![ask(read, None), sent(), CommandStep::TimedOut { attempt: 2 }, key_missing()],
    ];
    for (id, story) in (1..).zip(stories) {
        for step in story {
            tell(id, step);
        }
    }
    let views = station.views();
    let shown = |views: &Views| {
        let rows = views.open_commands().expect("reads").into_iter();
        rows.map(|row| CommandRow { steps: Vec::new(), told: Seq(0), ..row }).collect::<Vec<_>>()
    };
    let before = shown(&views);
    assert_eq!(before.len(), 12);
    let told = standing(&views, 1_000);
    assert_eq!(told.len(), 12);
    assert!(standing(&views, 1).is_empty(), "what is kept need not be told again");
    // As after the days were dropped: nothing but what was told again, at another time.
    let later = Station::new("retold-commands-later");
    for fact in &told {
        let entry = Entry { at_ms: NOON_MS + 86_400_000, fact: fact.clone() };
        later.journal.append_blocking(entry).expect("appends");
    }
    assert_eq!(shown(&later.views()), before);
    let last = told.into_iter().map(|fact| station.tell(fact)).last().expect("twelve");
    assert!(views.wait_caught_up(last, Duration::from_secs(20)));
    assert_eq!(shown(&views), before, "it says nothing new");
    assert!(standing(&views, last.0 - 11).is_empty(), "once is enough");
}

#[test]
fn a_step_that_comes_while_a_command_is_told_again_counts() {
    let station = Station::new("retold-meanwhile");
    let tell = |step| station.tell(Fact::Command(CommandFact { id: 4, device: device("1"), step }));
    let asked = CommandStep::Requested {
        command: Command::Read { scope: ReadScope::Current },
        by: "anna".into(),
        note: String::new(),
        expires_ms: 9,
        round: None,
    };
    // The entry 1 is the last that was known when it was told again; its day is dropped.
    station.tell(volume("1", 1, 1));
    tell(CommandStep::Cancelled { by: "bob".into() });
    tell(CommandStep::Retold { steps: vec![(NOON_MS, asked)], upto: 1 });
    let views = station.views();
    assert!(views.open_commands().expect("reads").is_empty());
    let row = views.command(4).expect("reads").expect("known");
    assert_eq!((row.state, &row.by[..], row.command.is_some()), (CommandState::Cancelled, "anna", true));
}

#[test]
fn a_clock_that_was_ahead_hides_nothing_of_today() {
    let station = Station::new("ahead");
    let ahead_ms = 4 * 365 * 86_400_000 + 3_600_000;
    for (at_ms, address) in [
        (NOON_MS, "1"),
        (NOON_MS, "2"),
        (NOON_MS + ahead_ms, "1"),
        (NOON_MS + ahead_ms, "2"),
        (NOON_MS + 60_000, "1"),
        (NOON_MS + 120_000, "1"),
    ] {
        let fact = volume(address, 1_000, 7);
        station.journal.append_blocking(Entry { at_ms, fact }).expect("appends");
    }
    let views = station.views();
    let minute = NOON_MS / 60_000 * 60_000;
    let frames = |views: &Views| {
        let arrivals = views.arrivals(minute).expect("reads").into_iter();
        arrivals.map(|(at_ms, counts)| (at_ms - minute, counts.frames, counts.reports)).collect::<Vec<_>>()
    };
    let shown = [(0, 2, 2), (60_000, 1, 1), (120_000, 1, 1), (ahead_ms, 2, 2)];
    assert_eq!(frames(&views), shown);
    let today = station.clock.civil(NOON_MS).day();
    let days = views.days(today, today).expect("reads");
    assert_eq!((days[0].counts.reports, days[0].counts.devices), (4, 2), "each device once");
    let family = views.families(today).expect("reads").remove(0);
    assert_eq!((family.reports, family.last_seen_ms), (4, Some(NOON_MS + 120_000)));
    let seen = |address| {
        let shown = views.device(&device(address)).expect("reads").expect("known");
        (shown.last_seen_ms, shown.last_report_ms)
    };
    assert_eq!(seen("1"), (Some(NOON_MS + 120_000), Some(NOON_MS + 120_000)));
    assert_eq!(seen("2").0, Some(NOON_MS + ahead_ms));
    // Folded entry by entry or all at once, it is the same.
    views.close();
    Views::rebuild(&station.dir, &station.journal, &station.clock, &mut |_| {}).expect("rebuilds");
    let rebuilt = station.views();
    assert_eq!(frames(&rebuilt), shown);
    assert_eq!(rebuilt.families(today).expect("reads").remove(0), family);
}

#[test]
fn rounds_are_listed_as_they_were_told_whenever_they_were_due() {
    use crate::journal::{PollFact, PollStep, Round};
    let station = Station::new("rounds");
    for due in [100, 9_000_000, 200] {
        let round = Round { poll: "daily".into(), due: Civil(due) };
        station.tell(Fact::Poll(PollFact { round, step: PollStep::Begun { by: String::new() } }));
    }
    let rounds = station.views().poll_rounds("daily", 2).expect("reads");
    assert_eq!(rounds.iter().map(|round| round.due).collect::<Vec<_>>(), [Civil(200), Civil(9_000_000)]);
}
