//! Power that fails at every step: after each action, and in the middle of each write. Whatever the moment, the valve is moved once, no number is
//! used twice, and the readings come through.

use super::days::order;
use super::rig::{Rig, midnight, total};
use polymeter_sdk::{Command, Outcome, Recharge, ValveOrder};

/// A day with a valve order and a purchase, and the day after.
fn live(cut_after: Option<u32>, fails_at: Option<u32>) -> Rig {
    let mut rig = Rig::new(true);
    rig.cut_after = cut_after;
    rig.bench.fails_at = fails_at;
    rig.desk.orders = orders();
    // The station sends what was not answered again, as it does with orders that a device recognises.
    for day in 1..=4 {
        rig.run_until(midnight(day) + 8 * 3600);
        let answered =
            rig.desk.answers.iter().filter(|a| matches!(a.outcome, Outcome::Done | Outcome::AlreadyDone)).count();
        if rig.desk.orders.is_empty() && answered < 2 {
            rig.desk.orders = orders();
        }
    }
    rig
}

fn orders() -> Vec<Command> {
    let recharge = Recharge { order_id: 70, purchase_count: 1, amount: 5000, volume: 0, purchased_total: 5000 };
    vec![Command::Recharge(recharge), order(ValveOrder::CloseForced, 7)]
}

fn sound(rig: &Rig, what: &str) {
    assert_eq!(rig.bench.motions, 1, "{what}: the motor");
    assert!(rig.bench.closed && rig.unit.terminal.status.valve == 3, "{what}: the valve");
    assert_eq!(rig.unit.terminal.account.balance, 5000, "{what}: the purchase");
    let mut days = rig.desk.days();
    assert!(days.iter().all(|(at, value)| *value == i64::from(total(*at))), "{what}");
    days.dedup();
    let told: Vec<_> = days.iter().map(|(at, _)| *at).collect();
    assert_eq!(told, (0..5).map(midnight).collect::<Vec<_>>(), "{what}: the readings");
}

#[test]
fn after_every_action() {
    let whole = live(None, None);
    assert_eq!(whole.cuts, 0);
    sound(&whole, "without a cut");
    for action in 1..whole.actions {
        let rig = live(Some(action), None);
        assert_eq!(rig.cuts, 1);
        // The desk refuses a nonce that was used before: that all was heard is the proof that none was.
        sound(&rig, &format!("after action {action}"));
    }
}

#[test]
fn in_the_middle_of_every_write() {
    let whole = live(None, None);
    for store in 1..=whole.bench.stores {
        let rig = live(None, Some(store));
        assert_eq!(rig.cuts, 1);
        sound(&rig, &format!("during write {store}"));
    }
}

#[test]
fn a_damaged_image_is_never_taken_for_a_whole_one() {
    let rig = live(None, None);
    let place = usize::from(rig.bench.stores.is_multiple_of(2));
    for byte in (0..wtcu::IMAGE_BYTES).step_by(7) {
        let mut other = Rig::new(true);
        other.bench.images.clone_from(&rig.bench.images);
        for image in other.bench.images.iter_mut().flatten() {
            image[byte] ^= 1;
        }
        other.run_until(other.now + 1);
        assert_eq!(other.unit.terminal.account.balance, 0, "byte {byte}: as from the factory");
        let mut other = Rig::new(true);
        other.bench.images.clone_from(&rig.bench.images);
        if let Some(image) = &mut other.bench.images[place] {
            image[byte] ^= 1;
        }
        other.run_until(other.now + 1);
        assert_eq!(other.unit.terminal.account.balance, 5000, "byte {byte}: the other image holds");
    }
}
