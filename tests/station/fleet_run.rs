//! A small fleet with everything that a large one does; its own check is the test.

use fleet::estate::Size;
use fleet::fleet::{Run, Watch, play};
use fleet::station::Settings;
use polymeter::model::Civil;
use polymeter_tests::site::Site;
use std::time::Duration;

#[test]
fn the_books_of_a_small_fleet_agree() {
    let settings = Settings::mixed_fleet();
    let site = Site::with(&settings);
    let from: Civil = "2024-02-26T12:00:00".parse().expect("a time");
    let run = Run {
        doors: site.doors().expect("a listener each"),
        devices: 160,
        seed: 4711,
        real: Duration::from_secs(6),
        from,
        to: Civil(from.0 + 5 * 86_400),
        orders: 60,
        estate: Some(Size { concentrators: 1, behind: 8, correctors: 2 }),
        zone: settings.zone.clone(),
    };
    let outcome = play(&run, &site.client(), &Watch::default()).expect("a whole run");
    if let Some(estate) = outcome.estate {
        estate.end().expect("carriers that hang up");
    }
    let findings = &outcome.findings;
    assert!(findings.differences.is_empty(), "seed {}: {:#?}", run.seed, findings.differences);
    assert!(findings.readings > 1_000, "{findings:?}");
    assert!(findings.commands_answered > 0);
    assert!(outcome.achieved.story.len() > 1, "valves were closed through a concentrator: {:?}", outcome.achieved);
    for trick in ["cut", "noise", "wrong sum", "acknowledgement lost", "said twice"] {
        assert!(outcome.tricks.contains_key(trick), "no `{trick}` in {:?}", outcome.tricks);
    }
}
