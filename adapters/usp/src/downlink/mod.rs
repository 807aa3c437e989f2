//! What the station asks and how terminals answer (USP/1 §F): one file a group, with both bodies in it.

mod account;
mod archive;
mod firmware;
mod key;
mod parameters;
mod read;
mod relay;
mod settings;
mod valve;

pub use key::KeyOnItsWay;
pub use valve::sent as valve_order;

use crate::frame::{Header, flags, message};
use crate::memory::Memory;
use crate::names;
use crate::profile::Profile;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Answer, AnswerBody, Command, Context, EndReason, Fault, Message, Outcome};

/// Longest wait for an ordinary answer (§G 3).
const ANSWER_WITHIN_S: u16 = 30;

/// A command's message number and plain body.
pub struct Order {
    pub message: u16,
    pub body: Vec<u8>,
    pub answer_within_s: u16,
    /// The terminal executes these very frames once, however often they come, even over its own restart.
    pub repeatable: bool,
    pub new_key: Option<KeyOnItsWay>,
}

impl Order {
    const fn new(message: u16, body: Vec<u8>) -> Self {
        Self { message, body, answer_within_s: ANSWER_WITHIN_S, repeatable: true, new_key: None }
    }
}

/// The body of a command, for this terminal.
pub fn order(
    profile: Profile,
    context: &Context,
    memory: &Memory,
    address: &str,
    command: &Command,
) -> Result<Order, Fault> {
    match command {
        Command::Read(scope) => Ok(read::now(*scope)),
        Command::ReadHistory(history) => read::frozen(history),
        Command::Valve(valve) => valve::order(valve, context.now),
        Command::SetClock(to) => settings::clock(*to),
        Command::SetSchedule(change) => settings::schedule(change),
        Command::SetEndpoint(endpoint) => settings::endpoint(endpoint),
        Command::SetKey(change) => key::order(profile, memory, address, change),
        Command::SetParameters(list) => parameters::set(list),
        Command::ReadParameters(names) => parameters::read(names),
        Command::Recharge(recharge) => account::recharge(recharge),
        Command::SetTariff(tariff) => account::tariff(tariff),
        Command::SyncBalance(sync) => account::balance(sync),
        Command::FirmwareBegin(image) => firmware::begin(image),
        Command::FirmwareBlock(block) => firmware::block(block),
        Command::FirmwareActivate(activation) => firmware::activate(activation),
        Command::ArchiveAdd(entries) => archive::add(entries),
        Command::ArchiveRemove(addresses) => archive::remove(addresses),
        Command::ArchiveList(range) => Ok(archive::list(*range)),
        Command::Relay(relay) => relay::order(memory, relay),
        Command::EndSession(reason) => Ok(farewell(*reason)),
    }
}

/// 4002: reason 0 done, 1 busy, 2 not authorised. Never answered, never secured.
fn farewell(reason: EndReason) -> Order {
    let reason = match reason {
        EndReason::Done => 0,
        EndReason::Busy => 1,
        EndReason::NotAuthorised => 2,
    };
    Order { answer_within_s: 0, ..Order::new(message::END_SESSION, vec![reason]) }
}

/// What the rest of an answer says, behind the result byte.
#[derive(Default)]
struct Rest {
    /// `None`: as the result says.
    outcome: Option<(Outcome, &'static str)>,
    /// Of a valve order.
    order_id: Option<u32>,
    body: Option<AnswerBody>,
    /// What a relay brought, or bytes beside the values that are none.
    beside: Option<Message>,
}

impl From<AnswerBody> for Rest {
    fn from(body: AnswerBody) -> Self {
        Self { body: Some(body), ..Self::default() }
    }
}

/// An answer's meaning; the first message is the answer itself, unless it answers something else than it seems to.
pub fn answer(header: &Header, body: &[u8], memory: &Memory) -> Result<Vec<Message>, FieldError> {
    let mut r = Reader::at(body, crate::frame::HEADER_BYTES);
    let result = r.u8("result")?;
    let kept = r;
    let counts = result == names::result::OK || holds_behind_refusal(header.message, &kept);
    // The result byte alone is a general acknowledge; behind a refusal the rest may be anything, and is kept.
    let rest = match rest(header, memory, &mut r) {
        _ if kept.is_empty() => Rest::default(),
        Ok(rest) if r.is_empty() && counts => rest,
        Ok(_) if result == names::result::OK => return Err(r.finish("answer").err().unwrap_or(surplus(&kept))),
        Err(error) if result == names::result::OK => return Err(error),
        _ => Rest::from(AnswerBody::Raw({ kept }.rest().to_vec())),
    };
    let said = names::outcome(result);
    let (outcome, reason) = match header.message {
        message::VALVE => match valve::judge(memory.valve_order_of(header.sequence), said, &rest) {
            Some(judged) => judged,
            None => return Ok(vec![Message::unknown("answer to another valve order", body)]),
        },
        _ if result == names::result::OK => rest.outcome.unwrap_or(said),
        _ => said,
    };
    let answer = Answer {
        correlation: header.correlation().to_vec(),
        outcome,
        reason: reason.into(),
        raw_code: u32::from(result),
        body: rest.body.unwrap_or(AnswerBody::None),
        more_follows: header.flags & flags::MORE != 0,
    };
    let mut messages = vec![answer.into()];
    messages.extend(rest.beside);
    Ok(messages)
}

/// Whether the rest of an answer means something although the result is not 00. A terminal that refuses to read may fill its
/// answer up with zeros, which look like readings and balances and are none. A valve order is another matter: 08 and 0C tell
/// how the valve stands now; and a relay that heard nothing tells of whom. Zeros alone tell nothing there either: they would
/// say that no valve is fitted.
fn holds_behind_refusal(message: u16, rest: &Reader<'_>) -> bool {
    match message {
        message::VALVE => { *rest }.rest().iter().any(|b| *b != 0),
        message::RELAY | message::TRANSPARENT => true,
        _ => false,
    }
}

fn rest(header: &Header, memory: &Memory, r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    match header.message {
        message::SET_CLOCK => settings::clock_answer(r),
        message::SET_SCHEDULE => settings::schedule_answer(r),
        message::SET_KEY => key::answer(r),
        message::SET_PARAMETERS => parameters::set_answer(r),
        message::READ_PARAMETERS => parameters::read_answer(r),
        message::READ_NOW => read::now_answer(header, r),
        message::READ_FROZEN => read::frozen_answer(r),
        message::VALVE => valve::answer(r),
        message::RECHARGE => account::recharge_answer(r),
        message::BALANCE => account::balance_answer(r),
        message::READ_ACCOUNT => account::account_answer(r),
        message::UPGRADE_BEGIN | message::UPGRADE_BLOCK => firmware::next_block(r),
        message::UPGRADE_ACTIVATE => firmware::activate_answer(r),
        message::ARCHIVE_ADD => archive::added(r, archive::ordered(header, memory)),
        message::ARCHIVE_REMOVE => archive::removed(r, archive::ordered(header, memory)),
        message::ARCHIVE_LIST => archive::page(r),
        message::RELAY => relay::relay_answer(header, r),
        message::TRANSPARENT => relay::transparent_answer(header, r),
        // 4012 and 4042 repeat a number of the command; so may anything newer.
        _ => Ok(AnswerBody::Raw(r.rest().to_vec()).into()),
    }
}

fn surplus(r: &Reader<'_>) -> FieldError {
    FieldError::invalid("answer", r.offset(), r.remaining() as i64)
}
