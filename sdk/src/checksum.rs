//! The check sums of meter protocols.

/// CRC-16/MODBUS: polynomial A001 reflected, start FFFF, no final xor.
pub fn crc16_modbus(bytes: &[u8]) -> u16 {
    // Eight bytes a step, each through its own table: a frame's sum must not cost more than its meaning.
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut crc = 0xFFFF_u16;
    for c in chunks {
        let [low, high] = crc.to_le_bytes();
        let t = |table: usize, byte: u8| CRC16[table][byte as usize];
        crc = t(7, c[0] ^ low)
            ^ t(6, c[1] ^ high)
            ^ t(5, c[2])
            ^ t(4, c[3])
            ^ t(3, c[4])
            ^ t(2, c[5])
            ^ t(1, c[6])
            ^ t(0, c[7]);
    }
    rest.iter().fold(crc, |crc, b| crc >> 8 ^ CRC16[0][(crc as u8 ^ b) as usize])
}

/// All bytes added, modulo 256.
pub fn sum8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, b| sum.wrapping_add(*b))
}

/// CRC-32/IEEE, as Ethernet and ZIP use it.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, b| crc >> 8 ^ CRC32[(crc as u8 ^ b) as usize])
}

static CRC16: [[u16; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][n] = crc;
        n += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut n = 0;
        while n < 256 {
            let previous = tables[table - 1][n];
            tables[table][n] = previous >> 8 ^ tables[0][(previous & 255) as usize];
            n += 1;
        }
        table += 1;
    }
    tables
};

static CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_catalogues() {
        assert_eq!(crc16_modbus(b"123456789"), 0x4B37);
        assert_eq!(crc16_modbus(b""), 0xFFFF);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(sum8(&[0xFF, 0x02]), 1);
    }

    #[test]
    fn eight_at_a_time_is_the_same_as_bit_by_bit() {
        let bytes: Vec<u8> = (0..100_u32).map(|i| (i * 37 + 11) as u8).collect();
        for len in 0..bytes.len() {
            let slow = bytes[..len].iter().fold(0xFFFF_u16, |crc, b| {
                (0..8).fold(crc ^ u16::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xA001 } else { c >> 1 })
            });
            assert_eq!(crc16_modbus(&bytes[..len]), slow, "{len} bytes");
        }
    }
}
