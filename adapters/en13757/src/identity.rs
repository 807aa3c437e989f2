//! Who a meter is: identification, manufacturer, version and medium, and the address made of them. What a medium means for
//! its registers is said in `report`.

/// Identity as EN 13757 counts it: unique only as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Low byte first, as transmitted. Digits A..F occur.
    pub id: [u8; 4],
    pub manufacturer: u16,
    pub version: u8,
    pub medium: u8,
}

pub mod medium {
    pub const GAS: u8 = 0x03;
    pub const GAS_LOGGER: u8 = 0x12;
    pub const GAS_CONVERTER: u8 = 0x13;
    /// Any, when a meter is selected.
    pub const ANY: u8 = 0xFF;

    /// Kebab-case name of a medium or device type; `None` for reserved codes.
    pub const fn name(medium: u8) -> Option<&'static str> {
        Some(match medium {
            0x00 => "other",
            0x01 => "oil",
            0x02 => "electricity",
            GAS => "gas",
            0x04 => "heat-outlet",
            0x05 => "steam",
            0x06 => "warm-water",
            0x07 => "water",
            0x08 => "heat-cost-allocator",
            0x09 => "compressed-air",
            0x0A => "cooling-outlet",
            0x0B => "cooling-inlet",
            0x0C => "heat-inlet",
            0x0D => "heat-cooling",
            0x0E => "bus-system",
            0x0F => "unknown",
            0x10 => "irrigation-water",
            0x11 => "water-logger",
            GAS_LOGGER => "gas-logger",
            GAS_CONVERTER => "gas-converter",
            0x14 => "calorific-value",
            0x15 => "hot-water",
            0x16 => "cold-water",
            0x17 => "dual-register-water",
            0x18 => "pressure",
            0x19 => "ad-converter",
            0x1A => "smoke-detector",
            0x1B => "room-sensor",
            0x1C => "gas-detector",
            0x20 => "breaker-electricity",
            0x21 => "valve",
            0x25 => "customer-display",
            0x28 => "waste-water",
            0x29 => "garbage",
            0x30 => "service-tool",
            0x31 => "gateway",
            0x32 => "unidirectional-repeater",
            0x33 => "bidirectional-repeater",
            0x36 => "radio-converter-system-side",
            0x37 => "radio-converter-meter-side",
            0x38 => "wired-adapter",
            _ => return None,
        })
    }
}

impl Identity {
    /// As in the long header: id, manufacturer, version, medium.
    pub const fn from_header(b: [u8; 8]) -> Self {
        Self {
            id: [b[0], b[1], b[2], b[3]],
            manufacturer: u16::from_le_bytes([b[4], b[5]]),
            version: b[6],
            medium: b[7],
        }
    }

    /// As in a radio link layer: manufacturer, id, version, medium.
    pub const fn from_radio(b: [u8; 8]) -> Self {
        Self {
            id: [b[2], b[3], b[4], b[5]],
            manufacturer: u16::from_le_bytes([b[0], b[1]]),
            version: b[6],
            medium: b[7],
        }
    }

    pub const fn to_header(self) -> [u8; 8] {
        let (id, maker) = (self.id, self.manufacturer.to_le_bytes());
        [id[0], id[1], id[2], id[3], maker[0], maker[1], self.version, self.medium]
    }

    pub const fn to_radio(self) -> [u8; 8] {
        let (id, maker) = (self.id, self.manufacturer.to_le_bytes());
        [maker[0], maker[1], id[0], id[1], id[2], id[3], self.version, self.medium]
    }

    /// `LGB120820584003`: manufacturer's letters (four hex digits where it has none), identification, version, medium.
    pub fn address(&self) -> String {
        let mut text = String::with_capacity(16);
        match letters(self.manufacturer) {
            Some(letters) => letters.iter().for_each(|l| text.push(char::from(*l))),
            None => self.manufacturer.to_be_bytes().iter().for_each(|b| push_hex(&mut text, *b)),
        }
        push_id(&mut text, self.id);
        push_hex(&mut text, self.version);
        push_hex(&mut text, self.medium);
        text
    }

    /// The address under which the station knows this meter already, where that stands for it; otherwise its own.
    pub fn known_as(&self, device: Option<&str>) -> String {
        match device {
            Some(device) if Self::parse(device).is_some_and(|known| known.means(self)) => device.to_owned(),
            _ => self.address(),
        }
    }

    /// Whether this, which may have wildcards, stands for the other.
    pub fn means(&self, other: &Self) -> bool {
        let same = |own: u8, other: u8| own == 0xFF || other == 0xFF || own == other;
        self.id == other.id
            && (self.manufacturer == u16::MAX
                || other.manufacturer == u16::MAX
                || self.manufacturer == other.manufacturer)
            && same(self.version, other.version)
            && same(self.medium, other.medium)
    }

    /// The identity in an address. A bare identification (8 characters) stands for any manufacturer, version and medium.
    pub fn parse(address: &str) -> Option<Self> {
        let bytes = address.as_bytes();
        let (manufacturer, rest) = match bytes.len() {
            8 => (u16::MAX, bytes),
            15 => (number(bytes.first_chunk()?)?, bytes.get(3..)?),
            16 => (u16::from_be_bytes([hex(bytes, 0)?, hex(bytes, 2)?]), bytes.get(4..)?),
            _ => return None,
        };
        let id = [hex(rest, 6)?, hex(rest, 4)?, hex(rest, 2)?, hex(rest, 0)?];
        let (version, medium) = if rest.len() == 8 { (0xFF, medium::ANY) } else { (hex(rest, 8)?, hex(rest, 10)?) };
        Some(Self { id, manufacturer, version, medium })
    }
}

/// Eight digits, most significant first.
pub fn push_id(text: &mut String, id: [u8; 4]) {
    id.iter().rev().for_each(|b| push_hex(text, *b));
}

/// The three letters of a manufacturer code; `None` when it is none (or marked as not unique by bit 15).
pub const fn letters(code: u16) -> Option<[u8; 3]> {
    let parts = [code >> 10, code >> 5 & 31, code & 31];
    let mut out = [0; 3];
    let mut i = 0;
    while i < 3 {
        if parts[i] < 1 || parts[i] > 26 {
            return None;
        }
        out[i] = 64 + parts[i] as u8;
        i += 1;
    }
    Some(out)
}

/// The code of three letters.
pub fn number(letters: &[u8; 3]) -> Option<u16> {
    letters.iter().try_fold(0, |sum, l| l.is_ascii_uppercase().then(|| sum << 5 | u16::from(l - 64)))
}

fn push_hex(text: &mut String, byte: u8) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn hex(text: &[u8], at: usize) -> Option<u8> {
    let digit = |b: &u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    Some(digit(text.get(at)?)? << 4 | digit(text.get(at + 1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_both_ways() {
        let lgb = Identity::from_header([0x58, 0x20, 0x08, 0x12, 0xE2, 0x30, 0x40, 0x03]);
        assert_eq!(lgb.address(), "LGB120820584003");
        assert_eq!(Identity::parse("LGB120820584003"), Some(lgb));
        let nameless = Identity { manufacturer: 0, ..lgb };
        assert_eq!(nameless.address(), "0000120820584003");
        assert_eq!(Identity::parse(&nameless.address()), Some(nameless));
        let marked = Identity { manufacturer: lgb.manufacturer | 0x8000, ..lgb };
        assert_eq!(Identity::parse(&marked.address()), Some(marked));
        let any = Identity { manufacturer: 0xFFFF, version: 0xFF, medium: 0xFF, ..lgb };
        assert_eq!(Identity::parse("12082058"), Some(any));
        for bad in ["", "1208205", "lgb120820584003", "LGB12082058400G", "LGÖ12082058400", "LGB12082058"] {
            assert_eq!(Identity::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn letters_of_manufacturers() {
        for (code, text) in [(0x0443, *b"ABC"), (0x30E2, *b"LGB"), (0x0477, *b"ACW")] {
            assert_eq!(letters(code), Some(text));
            assert_eq!(number(&text), Some(code));
        }
        assert_eq!(letters(0x8443), None);
        assert_eq!(number(b"A1C"), None);
    }
}
