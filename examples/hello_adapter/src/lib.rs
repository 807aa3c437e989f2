//! The smallest whole adapter: a made-up meter that sends its number and its total, and takes no commands.

use polymeter_sdk::{
    Adapter, Command, Context, Decoded, DeviceKind, Encoded, Fault, Framing, Quantity, Register, Report, ReportCause,
    Unit, adapter, bcd, bytes::Reader, checksum,
};

#[cfg(not(target_arch = "wasm32"))]
pub mod device;

struct Meter;

adapter!(Meter);

// | Off | Size | Field                                             |
// |   0 |    1 | start, `AA`                                       |
// |   1 |    4 | meter number, BCD                                 |
// |   5 |    4 | total, BCD, 0.01 m³                               |
// |   9 |    2 | CRC-16/MODBUS of bytes 0..9, low byte first       |
const START: u8 = 0xAA;
const FRAME_BYTES: usize = 11;
const ACKNOWLEDGED: [u8; 2] = [START, 0x06];

impl Adapter for Meter {
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
        Ok(Decoded::new(address, DeviceKind::Meter, vec![report.into()]).with_reply(ACKNOWLEDGED.to_vec()))
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
    use super::{Adapter, FRAME_BYTES, Framing, Meter, device::Device};
    use polymeter_sdk::vectors;

    const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

    #[test]
    fn vectors_hold() {
        vectors::check::<Meter>(VECTORS);
    }

    #[test]
    fn damage_is_noticed() {
        vectors::truncations_and_bitflips::<Meter>(VECTORS);
    }

    #[test]
    fn the_device_says_what_the_vectors_say() {
        let meter = Device { number: 12_345_678, total: 123_456 };
        let report = meter.report().expect("the digits fit");
        assert_eq!(report, [0xAA, 0x12, 0x34, 0x56, 0x78, 0x00, 0x12, 0x34, 0x56, 0xE3, 0x86]);
        assert_eq!(Meter.frame(&report), Framing::Frame(FRAME_BYTES as u32));
        assert!(meter.hears(&[0xAA, 0x06]));
        assert_eq!(Device { number: 100_000_000, total: 0 }.report(), None);
    }
}
