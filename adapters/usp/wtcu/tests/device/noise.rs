//! Whatever the station, or whoever pretends to be it, sends: the terminal returns, and what it says fits a frame.

use super::rig::{Rig, start};
use polymeter_sdk::rehearsal::{Dice, cases_and_seed};
use wtcu::frame::{Frame, Header, message};
use wtcu::{Buffer, FRAME_BYTES_MAX, Heard, Input};

const CASES: u64 = 60_000;
const SEED: u64 = 0x3004_4031;
const MESSAGES: [u16; 18] = [
    message::REGISTRATION,
    message::DAILY,
    message::SET_CLOCK,
    message::SET_SCHEDULE,
    message::SET_ENDPOINT,
    message::SET_KEY,
    message::SET_PARAMETERS,
    message::READ_PARAMETERS,
    message::READ_NOW,
    message::READ_FROZEN,
    message::VALVE,
    message::RECHARGE,
    message::TARIFF,
    message::BALANCE,
    message::READ_ACCOUNT,
    message::UPGRADE_BEGIN,
    message::UPGRADE_BLOCK,
    message::UPGRADE_ACTIVATE,
];

#[test]
fn orders_of_any_bytes_are_answered_or_ignored() {
    let (cases, seed) = cases_and_seed(CASES, SEED);
    let mut dice = Dice::new(seed);
    let mut answers = 0_u64;
    let mut rig = Rig::new(false);
    let mut out = Buffer::<FRAME_BYTES_MAX>::new();
    for case in 0..cases {
        if case % 1000 == 0 {
            rig = Rig::new(case % 2000 == 0);
        }
        let body: Vec<u8> = (0..dice.range(0..60)).map(|_| [0, 1, 0x24, 0xFF, dice.any()][dice.range(0..5)]).collect();
        let header = Header {
            message: *dice.of(&MESSAGES),
            kind: 1,
            address: rig.unit.terminal.address,
            sequence: dice.range(0..40),
            flags: [0xA0, 0xA0, 0xA0, 0xC0, 0x80, dice.any()][dice.range(0..6)],
            security: [0, 0, 0, 0x11, 0x21, dice.any()][dice.range(0..6)],
        };
        header.frame(&body, &mut out);
        let mut frame = out.as_slice().to_vec();
        if dice.one_in(10) {
            let at = dice.range(0..frame.len());
            frame[at] ^= 1 << dice.range(0..8);
        }
        let (terminal, board) = (&mut rig.unit.terminal, &mut rig.bench);
        let Ok(mut heard) = terminal.hear(start(), &frame, board) else { continue };
        if matches!(heard, Heard::Move(_)) {
            heard = terminal.moved(dice.any(), board);
        }
        let mut parts = 0;
        while matches!(heard, Heard::Command { .. }) && terminal.answer(board, &mut out) {
            parts += 1;
            assert!(Frame::parse(out.as_slice()).is_some() && parts <= 3, "case {case}");
        }
        answers += u64::from(parts > 0);
    }
    assert!(answers > cases / 10, "{answers} of {cases} were answered");
}

#[test]
fn a_stream_of_noise_does_not_stop_the_unit() {
    let (_, seed) = cases_and_seed(1, SEED);
    let mut dice = Dice::new(seed);
    let mut rig = Rig::new(true);
    rig.run_until(start() + 1);
    let mut now = start();
    for case in 0..20_000 {
        let noise: Vec<u8> = (0..dice.range(0..200)).map(|_| [0x68, 0x01, dice.any()][dice.range(0..3)]).collect();
        let input = [Input::Done, Input::Tick, Input::Failed, Input::Received(&noise)][dice.range(0..4)];
        rig.unit.poll(input, now, case, &mut rig.bench);
        now += dice.range(0..600);
    }
}
