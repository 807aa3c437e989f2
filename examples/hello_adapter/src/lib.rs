//! The smallest whole adapter: a made-up meter that sends its number and its total, and takes no commands.

use polymeter_sdk::{
    Adapter, Command, Context, Decoded, DeviceKind, Encoded, Fault, Framing, Quantity, Register, Report, ReportCause,
    Unit, adapter, bcd, bytes::Reader, checksum,
};

struct Hello;

adapter!(Hello);

// | Off | Size | Field                                             |
// |   0 |    1 | start, `AA`                                       |
// |   1 |    4 | meter number, BCD                                 |
// |   5 |    4 | total, BCD, 0.01 m³                               |
// |   9 |    2 | CRC-16/MODBUS of bytes 0..9, low byte first       |
const START: u8 = 0xAA;
const FRAME_BYTES: usize = 11;

impl Adapter for Hello {
    fn configure(_profile: &str) -> Result<Self, String> {
        Ok(Self)
    }

    fn frame(&self, received: &[u8]) -> Framing {
        match received.iter().position(|b| *b == START) {
            None => Framing::Foreign,
            Some(0) if received.len() < FRAME_BYTES => Framing::Incomplete((FRAME_BYTES - received.len()) as u32),
            Some(0) => Framing::Frame(FRAME_BYTES as u32),
            Some(noise) => Framing::Skip(noise as u32),
        }
    }

    fn decode(&self, _context: &Context, frame: &[u8]) -> Result<Decoded, Fault> {
        let mut r = Reader::new(frame);
        if r.u8("start")? != START {
            return Err(Fault::not_mine("no AA at the start"));
        }
        let number = r.take("meter number", 4)?;
        let total = r.bcd("total", 4)?;
        let crc = r.u16_le("CRC")?;
        r.finish("CRC")?;
        if crc != checksum::crc16_modbus(&frame[..FRAME_BYTES - 2]) {
            return Err(Fault::corrupt("the CRC does not match"));
        }
        let address = bcd::digits(number).ok_or_else(|| Fault::corrupt("the meter number is not BCD"))?;
        let total = Register::cumulative(Quantity::Volume, Unit::CubicMetre, total as i64, -2);
        let report = Report::new(ReportCause::Interval).with_registers(vec![total]);
        Ok(Decoded::new(address, DeviceKind::Meter, vec![report.into()]).with_reply(vec![START, 0x06]))
    }

    fn encode(&self, _context: &Context, command: &Command) -> Result<Encoded, Fault> {
        match command {
            Command::EndSession(_) => Ok(Encoded::nothing()),
            _ => Err(Fault::unsupported("this meter takes no commands")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Hello;
    use polymeter_sdk::vectors;

    const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

    #[test]
    fn vectors_hold() {
        vectors::check::<Hello>(VECTORS);
    }

    #[test]
    fn damage_is_noticed() {
        vectors::truncations_and_bitflips::<Hello>(VECTORS);
    }
}
