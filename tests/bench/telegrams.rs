//! USP/1 telegrams for load: built once per device from a template, checksums included.
//!
//! The bodies are the worked examples of the protocol document (3004, 3003, 3043, 3046) with address, sequence and date
//! replaced.

use polymeter_sdk::checksum::crc16_modbus;

/// Length of every acknowledgement of an uplink: header, 8-byte body, checksum, end.
pub const ACK_BYTES: usize = 29;

/// A device of the load fleet.
#[derive(Clone, Copy)]
pub struct Device(pub u32);

impl Device {
    /// 14 digits in BCD, ascending with the number.
    fn address(self) -> [u8; 7] {
        let digits = format!("5{:013}", self.0);
        let mut bcd = [0; 7];
        for (i, pair) in digits.as_bytes().chunks(2).enumerate() {
            bcd[i] = (pair[0] - b'0') << 4 | (pair[1] - b'0');
        }
        bcd
    }

    /// 3004; `always_online` keeps the session open.
    pub fn registration(self, always_online: bool) -> Vec<u8> {
        let mut body = vec![0x00, 0x12];
        body.extend(padded(b"QG2.5-NB", 16));
        body.extend(padded(b"H1.0", 4));
        body.extend(padded(b"01.02.03", 8));
        body.extend(b"89860419001870123456");
        body.extend(b"866123040012345");
        let capabilities: u16 = if always_online { 0x0049 } else { 0x0009 };
        body.extend(capabilities.to_le_bytes());
        let heartbeat: u16 = if always_online { 30 } else { 0 };
        body.extend([1, 0x00, 0x00, 2, 10]);
        body.extend(heartbeat.to_le_bytes());
        body.push(0);
        body.extend([0x24, 0x03, 0x15, 0x00, 0x20, 0x03]);
        body.extend(123_456u32.to_le_bytes());
        self.frame([0x30, 0x04], 1, &body)
    }

    /// 3003.
    pub fn heartbeat(self, sequence: u16) -> Vec<u8> {
        let clock = sequence % 60;
        let body = [0x24, 0x03, 0x15, 0x12, 0x00, bcd(clock as u8), 20, 1];
        self.frame([0x30, 0x03], sequence, &body)
    }

    /// 3043 for the n-th day of 2024's March and on.
    pub fn daily(self, sequence: u16, day: u32) -> Vec<u8> {
        let date = [bcd(24 + (day / 336) as u8), bcd(1 + (day / 28 % 12) as u8), bcd(1 + (day % 28) as u8)];
        let total = 100_000 + day * 37 + self.0 % 1_000;
        let mut body = date.to_vec();
        body.extend(total.to_le_bytes());
        body.extend([0xFF; 4]);
        body.extend(status_block(date, total + 14));
        body.push(0);
        self.frame([0x30, 0x43], sequence, &body)
    }

    /// 3046 with `values` daily readings.
    pub fn history(self, sequence: u16, values: u8) -> Vec<u8> {
        let date = [0x24, 0x03, 0x01];
        let mut body = vec![3, 0];
        body.extend(date);
        body.push(values);
        for day in 0..u32::from(values) {
            body.extend((120_000 + 11 * day).to_le_bytes());
        }
        body.extend(status_block([0x24, 0x04, 0x01], 130_000));
        body.push(0);
        self.frame([0x30, 0x46], sequence, &body)
    }

    fn frame(self, message: [u8; 2], sequence: u16, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x68, 0x01];
        frame.extend(message);
        frame.push(0x01);
        frame.extend(self.address());
        frame.extend(sequence.to_le_bytes());
        frame.extend([0x20, 0x00]);
        frame.extend((body.len() as u16).to_le_bytes());
        frame.extend(body);
        let crc = crc16_modbus(&frame);
        frame.extend(crc.to_le_bytes());
        frame.push(0x16);
        frame
    }
}

fn status_block(date: [u8; 3], total: u32) -> Vec<u8> {
    let mut block = date.to_vec();
    block.extend([0x00, 0x20, 0x06]);
    block.extend(total.to_le_bytes());
    block.extend([1, 0]);
    block.extend(3_610u16.to_le_bytes());
    block.extend([0xFF, 0xFF]);
    block.extend((-950i16).to_le_bytes());
    block.extend(125i16.to_le_bytes());
    block.extend([18, 0]);
    block.extend(2_150i16.to_le_bytes());
    block.extend(1_013u16.to_le_bytes());
    block.extend(1_250u32.to_le_bytes());
    block.extend(5_678i32.to_le_bytes());
    block.extend([0; 4]);
    block
}

fn bcd(value: u8) -> u8 {
    ((value / 10) << 4) | (value % 10)
}

fn padded(text: &[u8], width: usize) -> Vec<u8> {
    let mut field = text.to_vec();
    field.resize(width, 0);
    field
}
