//! 4064 relay through a concentrator and 4071 through a DTU: frames of other protocols, both ways.

use super::{Order, Rest};
use crate::fields::{address, address_bytes};
use crate::frame::{BODY_BYTES_MAX, Header, Terminal, message};
use crate::memory::Memory;
use crate::names;
use crate::security::SEAL_BYTES;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Fault, Message, Relay, Relayed};

/// The terminal's own time on top of the meter's (§G 3).
const MARGIN_S: u16 = 10;

// 4064:                                  4071:
// | Off | Size | Field        |          | Off | Size | Field        |
// |   0 |    7 | A7           |          |   0 |    1 | port         |
// |   7 |    1 | sub-protocol |          |   1 |    1 | sub-protocol |
// |   8 |    1 | channel      |          |   2 |    1 | timeout, s   |
// |   9 |    1 | timeout, s   |          |   3 |    2 | n            |
// |  10 |    2 | n            |          |   5 |    n | payload      |
// |  12 |    n | payload      |
pub fn order(memory: &Memory, relay: &Relay) -> Result<Order, Fault> {
    let protocol = names::protocol_code(&relay.protocol)
        .ok_or_else(|| Fault::out_of_range("protocol", &relay.protocol, "a code of `wit/codes.md`"))?;
    let (number, mut body) = match Terminal::from_byte(memory.terminal) {
        // One that stands behind another concentrator may be asked before it has ever spoken; a DTU knows no targets.
        Some(Terminal::Concentrator) | None => {
            let mut body = address_bytes("target", &relay.target)?.to_vec();
            body.extend_from_slice(&[protocol, relay.channel, relay.timeout_s]);
            (message::RELAY, body)
        }
        Some(Terminal::Dtu) => (message::TRANSPARENT, vec![relay.channel, protocol, relay.timeout_s]),
        Some(Terminal::Meter) => {
            return Err(Fault::unsupported(
                "only a concentrator or a DTU relays; this terminal has said it is neither",
            ));
        }
    };
    let room = BODY_BYTES_MAX - SEAL_BYTES - body.len() - 2;
    if relay.payload.len() > room {
        let found = format!("{} bytes", relay.payload.len());
        return Err(Fault::out_of_range("payload", found, &format!("up to {room} bytes")));
    }
    body.extend_from_slice(&(relay.payload.len() as u16).to_le_bytes());
    body.extend_from_slice(&relay.payload);
    let answer_within_s = u16::from(relay.timeout_s) + MARGIN_S;
    // A frame behind may move a valve, and what is behind knows no order ids of ours.
    Ok(Order { answer_within_s, repeatable: false, ..Order::new(number, body) })
}

/// A7, sub-protocol u8, channel u8, n u16, payload.
pub fn relay_answer(header: &Header, r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let target = address(r, "sub-meter address")?;
    let (protocol, channel) = (r.u8("sub-protocol")?, r.u8("channel")?);
    relayed(header, target, protocol, channel, r)
}

/// Port u8, sub-protocol u8, n u16, payload.
pub fn transparent_answer(header: &Header, r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let (port, protocol) = (r.u8("port")?, r.u8("sub-protocol")?);
    relayed(header, String::new(), protocol, port, r)
}

/// Beside the answer itself goes what came from behind; nothing may have been asked for.
fn relayed(header: &Header, target: String, protocol: u8, channel: u8, r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let length = usize::from(r.u16_le("payload length")?);
    let payload = r.take("payload", length)?.to_vec();
    let relayed = Relayed {
        target,
        protocol: names::protocol(protocol),
        channel,
        payload,
        correlation: Some(header.correlation().to_vec()),
    };
    let beside = (length > 0).then_some(Message::Relayed(relayed));
    Ok(Rest { beside, ..Rest::default() })
}
