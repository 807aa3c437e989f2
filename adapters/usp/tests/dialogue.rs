//! Whole conversations between the adapter and a simulated terminal: what vectors, one frame each, cannot show.

use polymeter_sdk::keys::store;
use polymeter_sdk::{
    Adapter, Admission, Answer, AnswerBody, ArchiveEntry, ArchiveRange, BalanceLevel, BalanceSync, Civil, Command,
    Context, Decoded, Device as Known, Direction, EndReason, Fault, FaultKind, FirmwareActivation, FirmwareBlock,
    FirmwareImage, Framing, History, Interval, KeyChange, KeyCipher, Message, Outcome, Parameter, ParameterValue,
    ReadScope, Recharge, Relay, ReportPeriod, ScheduleChange, Tariff, TariffCycle, Transport, Valve, ValveOrder,
    ValveState, checksum, civil,
};
use usp::Usp;
use usp::device::{Cipher, Device, EventEntry, Heard, Period, Reply, SubMeter, Suite};

const K1: [u8; 16] = [0x11; 16];
const K2: [u8; 16] = [0x22; 16];

fn now() -> Civil {
    civil::time(2024, 3, 15, 0, 20, 0).expect("exists")
}

/// The station's side of one session, without a station.
struct Desk {
    adapter: Usp,
    address: String,
    memory: Vec<u8>,
    state: Vec<u8>,
    now: Civil,
}

impl Desk {
    fn of(device: &Device) -> Self {
        store::clear();
        for (slot, key) in [("0", [0xF0; 16]), ("1", K1), ("2", K2)] {
            store::insert(slot, key);
        }
        let adapter = Usp::configure("").expect("default profile");
        Self { adapter, address: device.address(), memory: Vec::new(), state: Vec::new(), now: now() }
    }

    fn context(&self) -> Context {
        Context {
            now: self.now,
            direction: Direction::Uplink,
            transport: Transport::Stream,
            admission: Admission::Welcome,
            pending: 0,
            device: Some(Known { address: self.address.clone(), memory: self.memory.clone() }),
            state: self.state.clone(),
        }
    }

    fn hear(&mut self, frame: &[u8]) -> Decoded {
        assert_eq!(self.adapter.frame(frame), Framing::Frame(frame.len() as u32));
        let decoded = self.adapter.decode(&self.context(), frame).expect("a good frame");
        assert_eq!(decoded.sender.as_ref().map(|s| s.address.as_str()), Some(self.address.as_str()));
        self.state = decoded.state.clone().unwrap_or(std::mem::take(&mut self.state));
        self.memory = decoded.memory.clone().unwrap_or(std::mem::take(&mut self.memory));
        decoded
    }

    fn refused(&self, frame: &[u8]) -> Fault {
        let fault = self.adapter.decode(&self.context(), frame).expect_err("not to be believed");
        assert_eq!(fault.kind, FaultKind::NotAuthentic, "{}", fault.detail);
        fault
    }

    fn ask(&mut self, command: &Command) -> Vec<u8> {
        let encoded = self.adapter.encode(&self.context(), command).expect("the command fits");
        self.memory = encoded.memory.unwrap_or(std::mem::take(&mut self.memory));
        let [frame] = <[_; 1]>::try_from(encoded.frames).expect("one frame");
        frame
    }

    /// A command there and its answers back.
    fn order(&mut self, device: &mut Device, command: &Command) -> Vec<Answer> {
        let frame = self.ask(command);
        let Heard::Command { frames, .. } = device.hear(self.now, &frame).expect("for this terminal") else {
            panic!("a command is a command");
        };
        let decoded = frames.iter().flat_map(|frame| self.hear(frame).messages);
        decoded.filter_map(|m| if let Message::Answer(answer) = m { Some(answer) } else { None }).collect()
    }

    fn done(&mut self, device: &mut Device, command: &Command) -> AnswerBody {
        let [answer] = <[_; 1]>::try_from(self.order(device, command)).expect("one answer");
        assert_eq!((answer.outcome, answer.reason.as_str()), (Outcome::Done, ""), "{command:?}");
        answer.body
    }

    /// A report there and its reply back.
    fn report(&mut self, device: &mut Device, frame: &[u8]) -> (Vec<Message>, Reply) {
        let decoded = self.hear(frame);
        let reply = decoded.reply.expect("every report is answered");
        match device.hear(self.now, &reply).expect("for this terminal") {
            Heard::Reply(reply) => (decoded.messages, reply),
            other => panic!("{other:?}"),
        }
    }

    fn register(&mut self, device: &mut Device) {
        self.state.clear();
        let frame = device.registration(self.now);
        assert_eq!(self.report(device, &frame).1.result, 0);
    }
}

fn keyed(cipher: Cipher) -> Device {
    let mut device = Device::meter("50001234567810");
    device.set_key(Suite { cipher, version: 1 }, K1);
    device
}

fn valve(order: ValveOrder, order_id: u32) -> Command {
    Command::Valve(Valve { order, order_id, valid_until: now() + 3600, reason: String::new() })
}

#[test]
fn a_day_of_a_meter_plain_and_sealed() {
    for mut device in [Device::meter("50001234567810"), keyed(Cipher::Aes128), keyed(Cipher::Sm4)] {
        let mut desk = Desk::of(&device);
        device.drift_s = 40;
        device.readings = Box::new(|at| (Some((at / 3600 % 100_000) as u32), Some((at / 3600 % 100_000) as u32 - 7)));
        desk.register(&mut device);
        assert_eq!(device.drift_s, 0, "the reply sets the clock");
        let frame = device.daily(desk.now, &[EventEntry { code: 5, at: now() - 60, value: 0 }]);
        let (messages, reply) = desk.report(&mut device, &frame);
        assert_eq!((reply.result, reply.pending, messages.len()), (0, 0, 2));
        let Some(Message::Report(report)) = messages.first() else { panic!("{messages:?}") };
        let midnight = civil::midnight(now());
        assert_eq!(
            report.registers.first().map(|r| (r.mantissa, r.at)),
            Some((midnight / 3600 % 100_000, Some(midnight)))
        );
        // Lost reply: the same bytes again give the same reply again, and nothing new.
        let again = desk.hear(&frame);
        assert!(again.duplicate && again.messages.is_empty() && again.reply.is_some());
        let second = device.daily(desk.now, &[]);
        assert_eq!(desk.report(&mut device, &second).1.result, 5, "one report a communication");
        assert_eq!(device.hear(desk.now, &desk.ask(&Command::EndSession(EndReason::Done))), Ok(Heard::Farewell(0)));
    }
}

#[test]
fn histories_events_sub_meters_and_payloads_arrive() {
    let mut device = Device::concentrator("50009900000001");
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let beat = device.heartbeat(desk.now);
    assert_eq!(desk.report(&mut device, &beat).1.result, 0);
    device.plan.period = Period::Monthly;
    let oldest = civil::date(2024, 2, 14).expect("exists");
    let history = device.history(desk.now, oldest, 31, &[]);
    let (messages, reply) = desk.report(&mut device, &history);
    let Some(Message::Report(report)) = messages.first() else { panic!("{messages:?}") };
    assert_eq!((reply.result, report.series.first().map(|s| s.samples.len())), (0, Some(31)));
    let abnormal = device.abnormal(desk.now, &[EventEntry { code: 0x40, at: now(), value: 9 }]);
    assert_eq!(desk.report(&mut device, &abnormal).1.result, 0);
    let sub = SubMeter { address: [0x23; 7], at: now(), total: Some(5), status: 0, quality: 0 };
    let subs = device.sub_meters(&[sub, sub]);
    assert_eq!(desk.report(&mut device, &subs).0.len(), 2);
    let bytes = device.transparent(1, 0xFE, b"any");
    assert!(matches!(&desk.report(&mut device, &bytes).0[..], [Message::Relayed(r)] if r.payload == b"any"));
}

#[test]
fn valve_orders_are_done_once_and_the_user_opens() {
    for mut device in [Device::meter("50001234567810"), keyed(Cipher::Aes128)] {
        let mut desk = Desk::of(&device);
        desk.register(&mut device);
        let close = valve(ValveOrder::CloseForced, 7);
        let AnswerBody::Valve(status) = desk.done(&mut device, &close) else { panic!("the answer shows the valve") };
        assert_eq!((status.state, status.reason.as_deref()), (ValveState::ClosedForced, Some("remote-forced")));
        assert!(!device.open_locally(), "forced");
        let again = desk.order(&mut device, &close);
        assert_eq!(again.first().map(|a| a.outcome), Some(Outcome::AlreadyDone));
        desk.done(&mut device, &valve(ValveOrder::PermitOpen, 8));
        assert_ne!(device.status.valve, 1, "a permit moves nothing");
        assert!(device.open_locally());
        // In time by the station's clock, too late by the terminal's.
        device.drift_s = 3601;
        let expired = desk.order(&mut device, &valve(ValveOrder::CloseTemporary, 9));
        assert_eq!(expired.first().map(|a| a.outcome), Some(Outcome::Expired));
        device.drift_s = 0;
        desk.now = now() + 3601;
        let late = desk.adapter.encode(&desk.context(), &valve(ValveOrder::CloseTemporary, 9));
        assert_eq!(late.map_err(|fault| fault.kind), Err(FaultKind::OutOfRange), "too late by the station's");
        desk.now = now();
        device.valve_stuck = true;
        let stuck = desk.order(&mut device, &valve(ValveOrder::CloseTemporary, 10));
        assert_eq!(stuck.first().map(|a| (a.outcome, a.reason.as_str())), Some((Outcome::Failed, "valve-failure")));
    }
}

#[test]
fn a_command_sent_again_is_answered_again_and_counted_once() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let frame = desk.ask(&Command::Recharge(Recharge {
        order_id: 1,
        purchase_count: 1,
        amount: 5000,
        volume: 0,
        purchased_total: 5000,
    }));
    let first = device.hear(desk.now, &frame).expect("for this terminal");
    assert_eq!(device.hear(desk.now, &frame).as_ref(), Ok(&first), "the stored answer");
    let Heard::Command { frames, .. } = first else { panic!("{first:?}") };
    assert!(!desk.hear(&frames[0]).duplicate);
    assert!(desk.hear(&frames[0]).duplicate);
    assert_eq!(device.account.balance, 5000);
}

#[test]
fn keys_change_without_a_gap() {
    // From the factory key to the first own key, and from there to another cipher.
    let mut device = Device::meter("50001234567810");
    device.set_key(Suite { cipher: Cipher::Aes128, version: 0 }, [0xF0; 16]);
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let change = |slot: &str, version, cipher| Command::SetKey(KeyChange { slot: slot.into(), version, cipher });
    desk.done(&mut device, &change("1", 1, KeyCipher::Aes128));
    assert_eq!(device.key_version(), 1);
    desk.done(&mut device, &Command::Read(ReadScope::Current));
    for (slot, version) in [("1", 1), ("0", 2), ("2", 3)] {
        let refused = desk.adapter.encode(&desk.context(), &change(slot, version, KeyCipher::Sm4));
        assert_eq!(refused.map_err(|fault| fault.kind), Err(FaultKind::OutOfRange), "slot {slot} version {version}");
    }
    desk.done(&mut device, &change("2", 2, KeyCipher::Sm4));
    desk.done(&mut device, &Command::SetClock(desk.now));
    desk.register(&mut device);
    let daily = device.daily(desk.now, &[]);
    assert_eq!(daily[15], 0x22, "SM4, version 2");
    assert_eq!(desk.report(&mut device, &daily).1.result, 0);
    // The answer to a key change is lost: the next registration tells which key is in force.
    store::insert("3", K1);
    let frame = desk.ask(&change("3", 3, KeyCipher::Aes128));
    device.hear(desk.now, &frame).expect("executed");
    desk.register(&mut device);
    desk.done(&mut device, &Command::Read(ReadScope::Current));
}

#[test]
fn forgery_and_replay_are_refused() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    let registration = device.registration(desk.now);
    desk.hear(&registration);
    let daily = device.daily(desk.now, &[]);
    desk.hear(&daily);
    // A recording played in a later session: the counter has moved on.
    desk.state.clear();
    let replayed = desk.refused(&registration);
    let answer = device.hear(desk.now, &replayed.reply.expect("result 07"));
    assert!(matches!(answer, Ok(Heard::Reply(Reply { result: 7, .. }))), "{answer:?}");
    // Somebody without the key pretends to be the meter.
    let mut impostor = Device::meter("50001234567810");
    let plain = impostor.registration(desk.now);
    desk.refused(&plain);
    // A plain order is no order for a terminal with a key.
    let mut bare = Desk::of(&device);
    let order = bare.ask(&valve(ValveOrder::CloseForced, 1));
    assert!(matches!(device.hear(bare.now, &order), Ok(Heard::Command { result: 7, .. })));
    assert_eq!(device.status.valve, 1);
}

#[test]
fn recordings_of_former_keys_are_refused_round_and_round() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let mut recordings = vec![device.daily(desk.now, &[])];
    desk.hear(&recordings[0]);
    for version in 2..=4_u8 {
        store::insert(&version.to_string(), [version; 16]);
        let change = KeyChange { slot: version.to_string(), version, cipher: KeyCipher::Aes128 };
        desk.done(&mut device, &Command::SetKey(change));
        // On its way out, the former key is still heard until the new one has proven itself.
        desk.register(&mut device);
        let daily = device.daily(desk.now, &[]);
        desk.hear(&daily);
        recordings.push(daily);
    }
    recordings.pop();
    for _ in 0..3 {
        for recording in &recordings {
            desk.state.clear();
            desk.refused(recording);
        }
    }
}

#[test]
fn a_lost_acknowledgement_costs_no_report_and_counts_none_twice() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let daily = device.daily(desk.now, &[]);
    assert_eq!(desk.hear(&daily).messages.len(), 1);
    // The acknowledgement is lost; the terminal connects anew and says the very same once more.
    desk.register(&mut device);
    let again = desk.hear(&daily);
    assert!(again.duplicate && again.messages.is_empty());
    let reply = device.hear(desk.now, &again.reply.expect("acknowledged"));
    assert!(matches!(reply, Ok(Heard::Reply(Reply { result: 0, .. }))), "{reply:?}");
    // So with a registration, which does begin the session.
    let registration = device.registration(desk.now);
    desk.state.clear();
    assert!(!desk.hear(&registration).duplicate);
    desk.state.clear();
    assert!(desk.hear(&registration).duplicate);
    desk.now += civil::DAY;
    let daily = device.daily(desk.now, &[]);
    assert_eq!(desk.report(&mut device, &daily).1.result, 0);
}

#[test]
fn what_is_turned_away_was_not_accepted() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    let registration = device.registration(desk.now);
    let stranger = Context { admission: Admission::Refused, pending: 3, ..desk.context() };
    let refused = desk.adapter.decode(&stranger, &registration).expect("a good frame");
    desk.memory = refused.memory.expect("a nonce was used for the reply");
    let reply = device.hear(desk.now, &refused.reply.expect("answered"));
    assert!(matches!(reply, Ok(Heard::Reply(Reply { result: 5, pending: 0, .. }))), "{reply:?}");
    // Adopted meanwhile.
    let decoded = desk.hear(&registration);
    assert!(!decoded.duplicate && !decoded.messages.is_empty());
}

#[test]
fn a_plain_registration_cannot_make_orders_go_out_plain() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    desk.adapter = Usp::configure(r#"{"plain_reports": true}"#).expect("valid");
    device.plain_reports = true;
    desk.register(&mut device);
    assert_eq!(desk.ask(&Command::Read(ReadScope::Current))[15], 0x11, "believed: nothing was known");
    let mut impostor = Device::meter("50001234567810");
    desk.register(&mut impostor);
    assert_eq!(desk.ask(&Command::Read(ReadScope::Current))[15], 0x11);
    // Proven by an answer's tag, no claim moves it, neither down nor up.
    desk.register(&mut device);
    desk.done(&mut device, &Command::Read(ReadScope::Current));
    impostor.set_key(Suite { cipher: Cipher::Aes128, version: 9 }, K2);
    impostor.plain_reports = true;
    desk.register(&mut impostor);
    assert_eq!(desk.ask(&Command::Read(ReadScope::Current))[15], 0x11);
}

#[test]
fn an_answer_is_believed_only_under_the_key_of_its_command() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let order = desk.ask(&valve(ValveOrder::CloseForced, 1));
    desk.done(&mut device, &Command::SetKey(KeyChange { slot: "2".into(), version: 2, cipher: KeyCipher::Aes128 }));
    // The order's answer comes late, and under the new key: whoever sent it did not have the order.
    let mut forger = keyed(Cipher::Aes128);
    forger.set_key(Suite { cipher: Cipher::Aes128, version: 2 }, K2);
    forger.restore(device.counters());
    let question = Device::question(&order).expect("a whole frame");
    desk.refused(&forger.answer(question, Some(Suite { cipher: Cipher::Aes128, version: 2 }), &[0, 1, 0, 0, 0, 3, 2]));
    desk.refused(&forger.answer(question, None, &[0, 1, 0, 0, 0, 3, 2]));
    let honest = forger.answer(question, Some(Suite { cipher: Cipher::Aes128, version: 1 }), &[0, 1, 0, 0, 0, 3, 2]);
    assert_eq!(desk.hear(&honest).messages.len(), 1);
}

#[test]
fn a_valve_order_is_done_by_its_own_answer_and_where_it_leads() {
    let mut device = Device::meter("50001234567810");
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let order = desk.ask(&valve(ValveOrder::CloseForced, 7));
    let question = Device::question(&order).expect("a whole frame");
    let mut say = |body: &[u8]| desk.hear(&device.answer(question, None, body)).messages;
    for another in [[0, 9, 0, 0, 0, 3, 2], [8, 9, 0, 0, 0, 5, 0]] {
        let told = say(&another);
        let kept = matches!(&told[..], [Message::Unknown(unknown)] if unknown.bytes == another);
        assert!(kept, "of order 9: {told:?}");
    }
    for (body, outcome) in [
        (&[0][..], Outcome::Accepted),
        (&[0, 7, 0, 0, 0, 1, 0], Outcome::Accepted),
        (&[0, 7, 0, 0, 0, 6, 2], Outcome::Accepted),
        (&[0, 7, 0, 0, 0, 3, 2], Outcome::Done),
    ] {
        let told = say(body);
        assert!(matches!(&told[..], [Message::Answer(answer)] if answer.outcome == outcome), "{told:?}");
    }
}

#[test]
fn an_always_online_terminal_reports_every_day_on_one_connection() {
    let mut device = Device::concentrator("50009900000001");
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    for _ in 0..3 {
        let daily = device.daily(desk.now, &[]);
        assert_eq!(desk.report(&mut device, &daily).1.result, 0);
        let second = device.daily(desk.now, &[]);
        assert_eq!(desk.report(&mut device, &second).1.result, 5, "one a communication");
        desk.now += civil::DAY;
    }
}

#[test]
fn what_cannot_be_remembered_is_learned_anew_from_fresh_reports_only() {
    let mut device = keyed(Cipher::Aes128);
    let mut desk = Desk::of(&device);
    let old = device.registration(desk.now - 3600);
    desk.memory = vec![0xEE; 45];
    let fault = desk.refused(&old);
    assert!(fault.detail.contains("remembered"), "{}", fault.detail);
    let plain = Device::meter("50001234567810").registration(desk.now);
    desk.refused(&plain);
    let blind = desk.adapter.encode(&desk.context(), &valve(ValveOrder::CloseForced, 1));
    assert_eq!(blind.map_err(|fault| fault.kind), Err(FaultKind::NotAuthentic));
    assert_eq!(
        desk.adapter.encode(&desk.context(), &Command::EndSession(EndReason::Busy)).map(|e| e.frames.len()),
        Ok(1)
    );
    desk.register(&mut device);
    desk.done(&mut device, &valve(ValveOrder::CloseForced, 1));
    // A terminal without a key, of which the station knows none either, has nothing that could be played again.
    let mut device = Device::meter("50001234567810");
    store::clear();
    (desk.memory, desk.state) = (vec![0xEE; 45], Vec::new());
    desk.register(&mut device);
}

#[test]
fn a_clock_that_cannot_be_written_is_not_sent_as_zeros() {
    for mut device in [Device::meter("50001234567810"), keyed(Cipher::Aes128)] {
        let desk = Desk::of(&device);
        let frame = device.registration(desk.now);
        for year in [1999, 2100] {
            let context = Context { now: civil::date(year, 6, 1).expect("exists"), ..desk.context() };
            let fault = desk.adapter.decode(&context, &frame).expect_err("no such clock");
            assert_eq!((fault.kind, fault.reply), (FaultKind::OutOfRange, None));
            assert!(fault.detail.contains("clock"), "{}", fault.detail);
        }
    }
}

#[test]
fn every_command_is_understood() {
    for mut device in [Device::concentrator("50009900000001"), keyed(Cipher::Sm4)] {
        let mut desk = Desk::of(&device);
        desk.register(&mut device);
        everyday(&mut desk, &mut device);
        money(&mut desk, &mut device);
        firmware(&mut desk, &mut device);
        parameters(&mut desk, &mut device);
    }
}

fn everyday(desk: &mut Desk, device: &mut Device) {
    desk.done(device, &Command::SetClock(desk.now + 100));
    assert_eq!(device.drift_s, 100);
    let change = ScheduleChange {
        period: Some(ReportPeriod::Dekad),
        minute_of_day: Some(61),
        stagger_minutes: None,
        awake_minutes: Some(20),
        heartbeat_minutes: None,
    };
    let AnswerBody::Schedule(schedule) = desk.done(device, &Command::SetSchedule(change)) else { panic!("a schedule") };
    assert_eq!((schedule.period, schedule.minute_of_day, schedule.awake_minutes), (ReportPeriod::Dekad, 61, 20));
    for (interval, step, count) in
        [(Interval::Hour, 3600, 125), (Interval::Day, civil::DAY, 30), (Interval::Month, 31 * civil::DAY, 6)]
    {
        let first = civil::date(2023, 9, 1).expect("exists");
        let history = History { interval, first, last: first + step * (count - 1) };
        let AnswerBody::Report(report) = desk.done(device, &Command::ReadHistory(history)) else { panic!("a report") };
        let samples = report.series.first().map(|s| s.samples.len() as i64);
        assert_eq!(samples, Some(if interval == Interval::Month { 6 } else { count }));
    }
    let AnswerBody::Report(report) = desk.done(device, &Command::Read(ReadScope::Current)) else { panic!("a report") };
    assert_eq!(report.at, Some(desk.now + 100));
}

fn money(desk: &mut Desk, device: &mut Device) {
    let sync =
        BalanceSync { balance: 1234, price: 19800, level: BalanceLevel::Low, settled_total: 99, settled_at: now() };
    assert_eq!(desk.done(device, &Command::SyncBalance(sync)), AnswerBody::Balance(1234));
    let tariff = Tariff {
        plan: 9,
        effective: now(),
        on_meter: true,
        cycle: TariffCycle::Year,
        cycle_start: now(),
        limits: vec![100, 200],
        prices: vec![1, 2, 3],
    };
    desk.done(device, &Command::SetTariff(tariff));
    let AnswerBody::Report(account) = desk.done(device, &Command::Read(ReadScope::Account)) else { panic!("a report") };
    assert_eq!((account.registers.len(), account.alarms), (5, vec!["balance-low".to_owned()]));
}

fn firmware(desk: &mut Desk, device: &mut Device) {
    let data = vec![7; 1000];
    let crc32 = checksum::crc32(&data);
    let image = FirmwareImage { image: 5, version: "01.02.04".into(), size: 1000, block_bytes: 512, crc32 };
    assert_eq!(desk.done(device, &Command::FirmwareBegin(image.clone())), AnswerBody::FirmwareNext(0));
    for (index, block) in data.chunks(512).enumerate() {
        let block = FirmwareBlock { image: 5, index: index as u32, data: block.to_vec() };
        let next = desk.done(device, &Command::FirmwareBlock(block));
        assert_eq!(next, AnswerBody::FirmwareNext(index as u32 + 1));
    }
    assert_eq!(desk.done(device, &Command::FirmwareBegin(image)), AnswerBody::FirmwareNext(2), "resumed");
    let activated = desk.order(device, &Command::FirmwareActivate(FirmwareActivation { image: 5, at: None }));
    assert_eq!(activated.first().map(|a| a.outcome), Some(Outcome::Accepted));
}

fn parameters(desk: &mut Desk, device: &mut Device) {
    let set = |name: &str, value| Parameter { name: name.into(), value: ParameterValue::Integer(value) };
    let list = vec![set("overflow-flow", 6000), set("overflow-seconds", 60), set("temperature-low", -500)];
    desk.done(device, &Command::SetParameters(list.clone()));
    let names = list.iter().map(|p| p.name.clone()).collect();
    assert_eq!(desk.done(device, &Command::ReadParameters(names)), AnswerBody::Parameters(list));
    let AnswerBody::Parameters(all) = desk.done(device, &Command::ReadParameters(Vec::new())) else { panic!("all") };
    assert!(all.iter().any(|p| p.name == "hardware-firmware"));
}

/// That frame with another body.
fn with_body(frame: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = [&frame[..16], &(body.len() as u16).to_le_bytes(), body].concat();
    out.extend(checksum::crc16_modbus(&out).to_le_bytes());
    out.push(0x16);
    out
}

#[test]
fn who_has_not_spoken_yet_relays_as_a_concentrator() {
    let mut desk = Desk::of(&Device::concentrator("50009900000001"));
    let (target, protocol) = ("00231100456790".into(), "cjt188-le".into());
    let relay = Command::Relay(Relay { target, protocol, channel: 1, timeout_s: 8, payload: b"read".to_vec() });
    assert_eq!(desk.ask(&relay)[2..5], [0x40, 0x64, 2]);
    desk.register(&mut Device::meter("50009900000001"));
    let refused = desk.adapter.encode(&desk.context(), &relay).expect_err("a meter");
    assert_eq!(refused.kind, FaultKind::Unsupported);
}

#[test]
fn a_concentrator_keeps_its_archive_and_relays() {
    let mut device = Device::concentrator("50009900000001");
    device.carrier.behind =
        Box::new(|_, _, payload| (payload != b"dead").then(|| payload.iter().rev().copied().collect()));
    let mut desk = Desk::of(&device);
    desk.register(&mut device);
    let entry = |index, address: &str| ArchiveEntry {
        index,
        address: address.into(),
        protocol: "cjt188-le".into(),
        channel: 1,
        baud: 2400,
        format: "8E1".into(),
    };
    let entries = vec![entry(1, "00231100456789"), entry(2, "00231100456790")];
    desk.done(&mut device, &Command::ArchiveAdd(entries.clone()));
    let AnswerBody::Archive(page) = desk.done(&mut device, &Command::ArchiveList(ArchiveRange { first: 0, count: 9 }))
    else {
        panic!("a page")
    };
    assert_eq!((page.total, page.entries), (2, entries));
    desk.done(&mut device, &Command::ArchiveRemove(vec!["00231100456789".into()]));
    let missing = desk.order(&mut device, &Command::ArchiveRemove(vec!["00231100456789".into()]));
    assert_eq!(missing.first().map(|a| a.reason.as_str()), Some("not-in-archive"));
    // Of what is not confirmed nobody says that it is done.
    let two = Command::ArchiveAdd(vec![entry(7, "7"), entry(8, "8")]);
    let judged = [
        (&[0, 2, 7, 0, 0, 8, 0, 0][..], Outcome::Done, ""),
        (&[0, 2, 7, 0, 0, 8, 0, 0x0B], Outcome::Failed, "incomplete"),
        (&[0, 2, 7, 0, 0x0B, 8, 0, 0x0B], Outcome::Refused, "storage-full"),
        (&[0, 1, 7, 0, 0], Outcome::Failed, "incomplete"),
        (&[0, 0], Outcome::Failed, "incomplete"),
        (&[0], Outcome::Done, ""),
    ];
    for (body, outcome, reason) in judged {
        let frame = desk.ask(&two);
        let Ok(Heard::Command { frames, .. }) = device.hear(desk.now, &frame) else { panic!("a command") };
        let answer = with_body(&frames[0], body);
        let Some(Message::Answer(answer)) = desk.hear(&answer).messages.into_iter().next() else { panic!("an answer") };
        assert_eq!((answer.outcome, answer.reason.as_str()), (outcome, reason), "{body:?}");
        assert!(!desk.memory.is_empty() && desk.memory[0] == 2, "the order is not kept longer than it is asked for");
    }
    let relay = |payload: &[u8]| {
        let (target, protocol) = ("00231100456790".into(), "cjt188-le".into());
        Command::Relay(Relay { target, protocol, channel: 1, timeout_s: 8, payload: payload.to_vec() })
    };
    let frame = desk.ask(&relay(b"read"));
    let Ok(Heard::Command { frames, .. }) = device.hear(desk.now, &frame) else { panic!("a command") };
    let messages = desk.hear(&frames[0]).messages;
    assert!(matches!(&messages[..], [Message::Answer(a), Message::Relayed(r)]
        if r.payload == b"daer" && r.correlation.as_ref() == Some(&a.correlation) && r.target == "00231100456790"));
    let silent = desk.order(&mut device, &relay(b"dead"));
    assert_eq!(silent.first().map(|a| a.outcome), Some(Outcome::NoAnswerBehind));
}
