//! Check sums, with tables small enough for a microcontroller's flash.

/// CRC-16/MODBUS, half a byte a step.
pub fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 16] = {
        let mut table = [0; 16];
        let mut n = 0;
        while n < 16 {
            let (mut crc, mut bit) = (n as u16, 0);
            while bit < 4 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let step = |crc: u16, half: u8| crc >> 4 ^ TABLE[usize::from((crc as u8 ^ half) & 15)];
    bytes.iter().fold(0xFFFF, |crc, b| step(step(crc, b & 15), b >> 4))
}

/// CRC-32/IEEE, half a byte a step.
pub fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut n = 0;
        while n < 16 {
            let (mut crc, mut bit) = (n as u32, 0);
            while bit < 4 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let step = |crc: u32, half: u8| crc >> 4 ^ TABLE[usize::from((crc as u8 ^ half) & 15)];
    !bytes.iter().fold(u32::MAX, |crc, b| step(step(crc, b & 15), b >> 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_catalogues() {
        assert_eq!(crc16(b"123456789"), 0x4B37);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
