//! Commands to frames: number, seal, and remember the counters.

use crate::downlink::{self, Order};
use crate::fields::address_bytes;
use crate::frame::{BODY_BYTES_MAX, Header, Terminal, flags, message};
use crate::memory::Memory;
use crate::profile::Profile;
use crate::security::{Keys, SEAL_BYTES, Suite};
use polymeter_sdk::{Command, Context, Encoded, Fault};

pub fn encode(profile: Profile, context: &Context, command: &Command) -> Result<Encoded, Fault> {
    let Some(device) = &context.device else {
        return Err(Fault::unsupported("USP/1 addresses every frame; the device is not known yet"));
    };
    let mut memory = match (Memory::read(&device.memory), command) {
        (Ok(memory), _) => memory,
        // 4002 needs neither key nor counter.
        (Err(_), Command::EndSession(_)) => Memory::anew(context.now),
        (Err(error), _) => {
            return Err(Fault::not_authentic(format!(
                "what is remembered of the terminal cannot be read ({error}); its next report starts it anew, order again then"
            )));
        }
    };
    let order = downlink::order(profile, context, &memory, &device.address, command)?;
    let farewell = order.message == message::END_SESSION;
    // Once a terminal has a key of its own, everything but 4002 is sealed; a first key travels under the factory key.
    let suite = if farewell { None } else { memory.suite().or(order.new_key.map(|key| key.carrier)) };
    let header = Header {
        message: order.message,
        terminal: Terminal::from_byte(memory.terminal).unwrap_or(unheard(command)),
        address: address_bytes("device address", &device.address)?,
        sequence: memory.next_sequence(),
        flags: if farewell { flags::FAREWELL } else { flags::COMMAND },
        security: suite.map_or(0, Suite::byte),
    };
    fits(&order)?;
    let body = match suite {
        None => order.body,
        Some(suite) => Keys::open(&device.address, suite)?.seal(&header, memory.next_nonce()?, &order.body)?,
    };
    if !farewell {
        memory.ask(header.sequence, header.security);
    }
    if let Command::Valve(valve) = command {
        memory.valve_order = Some(downlink::valve_order(header.sequence, valve));
    }
    memory.archive_order = match command {
        Command::ArchiveAdd(entries) => Some((header.sequence, entries.len() as u8)),
        Command::ArchiveRemove(addresses) => Some((header.sequence, addresses.len() as u8)),
        _ => memory.archive_order,
    };
    if let Some(key) = order.new_key {
        memory.pending_key = (key.version, key.algorithm, key.check);
    }
    Ok(Encoded {
        frames: vec![header.frame(&body)],
        correlation: if farewell { Vec::new() } else { header.correlation().to_vec() },
        answer_within_s: order.answer_within_s,
        repeatable: order.repeatable && !farewell,
        state: None,
        memory: Some(memory.bytes()),
    })
}

/// What a terminal that has said nothing yet must be, to be asked for this.
fn unheard(command: &Command) -> Terminal {
    match command {
        Command::ArchiveAdd(_) | Command::ArchiveRemove(_) | Command::ArchiveList(_) | Command::Relay(_) => {
            Terminal::Concentrator
        }
        _ => Terminal::Meter,
    }
}

fn fits(order: &Order) -> Result<(), Fault> {
    let room = BODY_BYTES_MAX - SEAL_BYTES;
    if order.body.len() <= room {
        return Ok(());
    }
    Err(Fault::out_of_range(
        "command",
        format!("{} bytes", order.body.len()),
        &format!("up to {room} bytes; ask for less at once"),
    ))
}
