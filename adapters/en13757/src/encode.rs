//! Commands to a wired meter: a read and the clock. The bus knows one question at a time, so only the first frame goes out here;
//! what follows waits in the session's state and is the reply to the acknowledgement.

use crate::identity::Identity;
use crate::layers::ci;
use crate::link::{self, address, control};
use crate::options::{Addressing, Clock, Link, Options};
use crate::session::{Awaited, Memory, Session, Task};
use crate::time;
use polymeter_sdk::{Civil, Command, Context, Encoded, EndReason, Fault, ReadScope, civil};

pub fn encode(options: &Options, context: &Context, command: &Command) -> Result<Encoded, Fault> {
    if Memory::of(context).by_radio || options.link == Link::Wireless {
        return Err(Fault::unsupported("a meter that is heard by radio sends by itself and is told nothing"));
    }
    match command {
        Command::Read(ReadScope::Current) => begin(options, context, Task::Read, None),
        Command::Read(_) => Err(Fault::unsupported("M-Bus reads all that a meter sends: scope current")),
        Command::SetClock(at) => begin(options, context, Task::SetClock, Some(clock(options.clock, *at)?)),
        Command::EndSession(reason) => Ok(end(context, *reason)),
        _ => Err(Fault::unsupported("M-Bus has no common form of this command; it reads meters and sets clocks")),
    }
}

/// Reset or select, then the request or the data.
fn begin(options: &Options, context: &Context, task: Task, data: Option<Vec<u8>>) -> Result<Encoded, Fault> {
    let memory = Memory::of(context);
    let mut session = Session::of(context);
    let first = match options.addressing {
        Addressing::Primary => {
            session.address = memory.primary.or(options.primary_address).ok_or_else(|| {
                Fault::out_of_range("primary_address", "none", "one in the profile, until the meter was heard once")
            })?;
            link::short(control::SND_NKE, session.address)
        }
        Addressing::Secondary => {
            let device = context.device.as_ref().map_or("", |d| d.address.as_str());
            let meter = Identity::parse(device)
                .ok_or_else(|| Fault::out_of_range("address", device, "such as LGB120820584003 or 12082058"))?;
            session.address = address::SELECTED;
            link::long(control::SND_UD | control::FCB, address::SELECTED, ci::SELECT, &meter.to_header())
        }
    };
    // Both a reset and a selection make 1 the next frame count bit.
    session.next_fcb = true;
    session.task = task;
    session.sequence = session.sequence.wrapping_add(1);
    session.awaited = Awaited::Acknowledgement;
    session.queue = vec![match data {
        None => session.request(control::REQ_UD2),
        Some(data) => link::long(session.with_fcb(control::SND_UD), session.address, ci::DATA_TO_METER, &data),
    }];
    let encoded = Encoded::frame(first, session.correlation(), options.answer_within_s);
    Ok(Encoded { state: Some(session.to_state()), ..encoded })
}

/// One record that carries the time.
fn clock(form: Clock, at: Civil) -> Result<Vec<u8>, Fault> {
    let record = match form {
        Clock::F => time::type_f(at).map(|f| [&[0x04, 0x6D][..], &f].concat()),
        Clock::I => time::type_i(at).map(|i| [&[0x06, 0x6D][..], &i].concat()),
    };
    record.ok_or_else(|| Fault::out_of_range("time", civil::text(at), "2000 to 2080, with type I to 2099"))
}

/// A selected meter is let go; nothing else ends.
fn end(context: &Context, _: EndReason) -> Encoded {
    let mut session = Session::of(context);
    if !session.is_selected() {
        return Encoded::nothing();
    }
    let frame = link::short(control::SND_NKE, address::SELECTED);
    session.address = address::ANY;
    session.awaited = Awaited::Nothing;
    session.queue.clear();
    Encoded { frames: vec![frame], state: Some(session.to_state()), ..Encoded::nothing() }
}
