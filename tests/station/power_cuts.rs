//! The station is killed again and again while meters report: what it has acknowledged is there, once; what it shows was sent.

use fleet::check::check;
use fleet::life::Meter;
use fleet::orders::Orders;
use fleet::plan::{Occasion, Plan};
use fleet::population::{Member, Offers};
use fleet::station::Settings;
use fleet::time::FleetTime;
use fleet::truth::Account;
use fleet::world::{Doors, World};
use polymeter::clock::Clock;
use polymeter::model::Civil;
use polymeter_tests::site::Site;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const CUTS: u32 = 50;
const METERS: usize = 16;
const SEED: u64 = 20_240_315;
const DAY_S: i64 = 86_400;

/// A port that a station can have again after each cut.
fn a_port() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("an address")
}

#[test]
fn fifty_power_cuts_lose_and_double_nothing() {
    let mut settings = Settings::usual();
    settings.listeners[0].bind = a_port();
    settings.log = "warn".into();
    let mut site = Site::with(&settings);
    let from: Civil = "2024-01-01T06:00:00".parse().expect("a time");
    let members: Vec<Member> = (0..METERS).map(|n| Member::draw(SEED, n, from, Offers::default())).collect();
    for member in members.iter().filter(|member| member.needs_key()) {
        let path = format!("keys/{}/{}/1", member.device().realm(), member.address);
        site.client().put(&path, &json!({"key": hex::encode(member.key)})).expect("a key");
    }
    let time = FleetTime::start(from, Civil(from.0 + 1), Duration::from_secs(1));
    let clock = Clock::new("Asia/Shanghai").expect("a zone");
    let world = Arc::new(World::new(time, Doors::tcp(settings.listeners[0].bind), clock, METERS));
    let over = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let (world, over) = (world.clone(), over.clone());
        move || report_until(&world, &over, members, from)
    });
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..CUTS {
        std::thread::sleep(Duration::from_millis(rng.random_range(10..250)));
        site.power_cut();
    }
    over.store(true, Relaxed);
    let accounts = load.join().expect("meters that live");
    let reports: u64 = accounts.iter().map(|account| account.reports).sum();
    assert!(reports > u64::from(CUTS), "{reports} reports are no load");
    site.catch_up();
    let accounts: Vec<&Account> = accounts.iter().collect();
    let found = check(&site.client(), &accounts, &Orders::default(), &|_| {}).expect("a station to compare with");
    assert!(found.differences.is_empty(), "seed {SEED}, {reports} reports: {:#?}", found.differences);
    site.stop().expect("a station that stops");
    let data = site.data();
    let verified = site.run(&["journal", "verify", "--data", &data.to_string_lossy()]).expect("a sound chain");
    assert!(verified.contains("sound"), "{verified}");
}

/// Each meter reports day after day, as fast as it gets through.
fn report_until(world: &Arc<World>, over: &Arc<AtomicBool>, members: Vec<Member>, from: Civil) -> Vec<Account> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lives = tokio::task::JoinSet::new();
        for member in members {
            let (world, over) = (world.clone(), over.clone());
            lives.spawn(async move {
                let mut meter = Meter::new(member);
                let mut slot = from;
                while !over.load(Relaxed) {
                    let plan = Plan::draw(&meter.member, Occasion::Scheduled, slot);
                    meter.communicate(&world, plan).await;
                    slot = Civil(slot.0 + DAY_S);
                }
                let mut account = meter.account;
                // While there was no station, nobody could hear, and broken bytes are owed to nobody.
                account.unheard.clear();
                account.broken.iter_mut().for_each(|broken| broken.surely = false);
                account
            });
        }
        lives.join_all().await
    })
}
