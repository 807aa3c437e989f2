//! 4071 unsolicited: bytes that a DTU received from the device behind it.

use super::BODY_AT;
use crate::names;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Message, Relayed};

// | Off | Size | Field                |
// |   0 |    1 | port                 |
// |   1 |    1 | sub-protocol         |
// |   2 |    1 | timeout, unused here |
// |   3 |    2 | n                    |
// |   5 |    n | payload              |
pub fn read(body: &[u8]) -> Result<Vec<Message>, FieldError> {
    let mut r = Reader::at(body, BODY_AT);
    let (port, protocol, _timeout) = (r.u8("port")?, r.u8("sub-protocol")?, r.u8("timeout")?);
    let length = usize::from(r.u16_le("payload length")?);
    let payload = r.take("payload", length)?.to_vec();
    r.finish("payload")?;
    // The DTU does not know who spoke.
    let relayed = Relayed {
        target: String::new(),
        protocol: names::protocol(protocol),
        channel: port,
        payload,
        correlation: None,
    };
    Ok(vec![Message::Relayed(relayed)])
}
