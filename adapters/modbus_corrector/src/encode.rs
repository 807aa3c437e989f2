//! From a command to its first request; the others wait in the session's state.

use crate::frame::WRITE_MANY;
use crate::options::Profile;
use crate::plan::Block;
use crate::session::{STATE_BYTES_MAX, Session, Task, write_request};
use crate::words::Scope;
use crate::{archive, clock, settings};
use polymeter_sdk::{Civil, Command, Context, Encoded, Fault, ReadScope};

const ANSWER_S_MAX: u16 = 3600;

pub fn encode(profile: &Profile, context: &Context, command: &Command) -> Result<Encoded, Fault> {
    if matches!(command, Command::EndSession(_)) {
        // A master that asks no more is all there is to it.
        return Ok(Encoded::nothing());
    }
    if context.device.is_none() {
        return Err(Fault::unsupported("no device to send to"));
    }
    let bus = profile.bus_of(context)?;
    let mut session = Session::of(context);
    let mut requests = None;
    let mut repeatable = false;
    match command {
        Command::Read(scope) => {
            read(profile, &mut session, bus, *scope)?;
            repeatable = true;
        }
        Command::ReadHistory(wanted) => {
            requests = Some(archive::begin(profile, &mut session, bus, wanted)?);
            repeatable = true;
        }
        Command::ReadParameters(names) => {
            settings::read(profile, &mut session, bus, names)?;
            repeatable = true;
        }
        Command::SetParameters(list) => settings::set(profile, &mut session, bus, list)?,
        Command::SetClock(to) => set_clock(profile, &mut session, bus, *to)?,
        Command::Valve(order) => settings::valve(profile, context, &mut session, bus, order)?,
        other => return Err(Fault::unsupported(refusal(other))),
    }
    let frame = session.frame().ok_or_else(|| Fault::unsupported("the map has nothing to ask for that"))?;
    let requests = requests.unwrap_or(session.queue.len().min(1000) as u16);
    let wait = profile.answer_within_s.saturating_mul(requests).min(ANSWER_S_MAX);
    let mut encoded = Encoded::frame(frame, session.correlation(), wait);
    encoded.repeatable = repeatable;
    let state = session.to_state();
    if state.len() > STATE_BYTES_MAX {
        return Err(Fault::out_of_range("command", state.len(), "what fits into a session's 4096 bytes"));
    }
    encoded.state = Some(state);
    Ok(encoded)
}

fn read(profile: &Profile, session: &mut Session, bus: u8, scope: ReadScope) -> Result<(), Fault> {
    let (task, plan) = match scope {
        ReadScope::Current => (Task::ReadCurrent, &profile.plans.current),
        ReadScope::Account => (Task::ReadAccount, &profile.plans.account),
        ReadScope::Valve if profile.map.valve.as_ref().is_none_or(|v| v.place.is_none()) => {
            return Err(Fault::unsupported("the map does not say how the valve stands"));
        }
        ReadScope::Valve => (Task::ReadValve, &profile.plans.valve),
    };
    session.begin(task, bus);
    let longer = u16::from(profile.alternate_counts && session.sequence & 1 == 1);
    for block in plan {
        session.ask(Block { count: block.count + longer, ..*block });
    }
    Ok(())
}

fn set_clock(profile: &Profile, session: &mut Session, bus: u8, to: Civil) -> Result<(), Fault> {
    let Some(mapped) = profile.map.clock.filter(|c| c.writable) else {
        return Err(Fault::unsupported("the map has no clock that may be written"));
    };
    session.begin(Task::SetClock, bus);
    let data = clock::write(&mapped, to)?;
    let place = mapped.place;
    session.queue.push(write_request(place.bus.unwrap_or(bus), WRITE_MANY, place.register, &data));
    session.ask(Block::of(place));
    Ok(())
}

/// The scope of a read under way.
pub const fn scope_of(task: Task) -> Scope {
    if matches!(task, Task::ReadAccount) { Scope::Account } else { Scope::Current }
}

const fn refusal(command: &Command) -> &'static str {
    match command {
        Command::SetSchedule(_) => "a corrector that is asked has no schedule",
        Command::SetEndpoint(_) => "a transparent DTU is configured with its maker's tool",
        Command::SetKey(_) => "Modbus has no keys",
        Command::Recharge(_) | Command::SetTariff(_) | Command::SyncBalance(_) => "correctors do not bill",
        Command::FirmwareBegin(_) | Command::FirmwareBlock(_) | Command::FirmwareActivate(_) => {
            "no public firmware requests"
        }
        _ => "nothing is carried behind a corrector",
    }
}
