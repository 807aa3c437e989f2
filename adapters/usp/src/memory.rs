//! What is remembered of a terminal across sessions: kind, keys, and the counters that must never go back.

use crate::security::{Suite, algorithm_code};
use polymeter_sdk::Fault;
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::keys::Cipher;

const LAYOUT: u8 = 1;
pub const MEMORY_BYTES: usize = 26;

/// Zeros mean "not known yet".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Terminal type as in the header.
    pub terminal: u8,
    /// It has secured a report once; see `Profile::plain_reports`.
    pub secures: bool,
    /// The key version in force; 0 is the factory key.
    pub key_version: u8,
    /// 0 unknown, 1 AES-128, 2 SM4.
    pub algorithm: u8,
    /// The last sequence number this side has used.
    pub sequence: u16,
    /// The last nonce this side has used, over all key versions: never used twice under any of them.
    pub nonce: u32,
    /// The last nonces accepted from the terminal, by security byte; the present and the previous key.
    pub accepted: [(u8, u32); 2],
    /// A key on its way: version, algorithm and check value of the last 4013.
    pub pending_key: (u8, u8, [u8; 3]),
}

impl Memory {
    // | Off | Size | Field                          | Off | Size | Field                            |
    // |   0 |    1 | layout, 1                      |  11 |    5 | security byte, last nonce (LE)   |
    // |   1 |    1 | terminal type                  |  16 |    5 | the same of the previous key     |
    // |   2 |    1 | bit 0: secures its reports     |  21 |    1 | version of a key on its way      |
    // |   3 |    1 | key version                    |  22 |    1 | its algorithm                    |
    // |   4 |    1 | algorithm                      |  23 |    3 | its check value                  |
    // |   5 |    2 | last sequence sent, LE         |     |      |                                  |
    // |   7 |    4 | last nonce sent, LE            |     |      |                                  |
    pub fn read(bytes: &[u8]) -> Result<Self, FieldError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut r = Reader::new(bytes);
        let layout = r.u8("memory layout")?;
        if layout != LAYOUT {
            return Err(FieldError::invalid("memory layout", 0, i64::from(layout)));
        }
        let memory = Self {
            terminal: r.u8("terminal type")?,
            secures: r.u8("memory flags")? & 1 == 1,
            key_version: r.u8("key version")? & 15,
            algorithm: r.u8("algorithm")?,
            sequence: r.u16_le("sequence")?,
            nonce: r.u32_le("nonce")?,
            accepted: [
                (r.u8("security byte")?, r.u32_le("accepted nonce")?),
                (r.u8("security byte")?, r.u32_le("accepted nonce")?),
            ],
            pending_key: (r.u8("new key version")?, r.u8("new algorithm")?, r.array("check value")?),
        };
        r.finish("check value")?;
        Ok(memory)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MEMORY_BYTES);
        out.extend_from_slice(&[LAYOUT, self.terminal, u8::from(self.secures), self.key_version, self.algorithm]);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        for (security, nonce) in self.accepted {
            out.push(security);
            out.extend_from_slice(&nonce.to_le_bytes());
        }
        out.extend_from_slice(&[self.pending_key.0, self.pending_key.1]);
        out.extend_from_slice(&self.pending_key.2);
        out
    }

    /// The suite of frames that this side begins; `None`: plain, the terminal has no key of its own.
    pub fn suite(&self) -> Option<Suite> {
        let cipher = if self.algorithm == algorithm_code(Cipher::Sm4) { Cipher::Sm4 } else { Cipher::Aes128 };
        (self.key_version > 0).then_some(Suite { cipher, version: self.key_version })
    }

    pub fn next_sequence(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    pub fn next_nonce(&mut self) -> Result<u32, Fault> {
        self.nonce = self.nonce.checked_add(1).ok_or_else(|| {
            Fault::not_authentic(
                "all nonces of this terminal's keys are used up; give it a new key and forget its memory",
            )
        })?;
        Ok(self.nonce)
    }

    /// Strictly increasing per key; `false`: seen before.
    pub fn accept(&mut self, suite: Suite, nonce: u32) -> bool {
        let security = suite.byte();
        let [current, previous] = &mut self.accepted;
        if current.0 != security && previous.0 != security {
            *previous = *current;
            *current = (security, nonce);
            return true;
        }
        let known = if current.0 == security { current } else { previous };
        let newer = nonce > known.1;
        if newer {
            known.1 = nonce;
        }
        newer
    }

    /// A frame verified under this suite. One under the previous key must not bring that key back (§G 8), so it counts
    /// only while no key is known, or when it proves the one that is on its way.
    pub fn used_key(&mut self, suite: Suite) {
        let proves = suite.version == self.pending_key.0 && algorithm_code(suite.cipher) == self.pending_key.1;
        if self.key_version == 0 || self.key_version == suite.version || (suite.version > 0 && proves) {
            self.adopt_key(suite.version, algorithm_code(suite.cipher));
        }
    }

    /// This key is in force; algorithm 0 leaves the cipher as it is.
    pub fn adopt_key(&mut self, version: u8, algorithm: u8) {
        self.key_version = version & 15;
        if algorithm != 0 {
            self.algorithm = algorithm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_round_trip() {
        let memory = Memory {
            terminal: 2,
            secures: true,
            key_version: 3,
            algorithm: 2,
            sequence: 0x0102,
            nonce: 77,
            accepted: [(0x23, 5), (0x12, 9)],
            pending_key: (4, 1, [1, 2, 3]),
        };
        assert_eq!(memory.bytes().len(), MEMORY_BYTES);
        assert_eq!(Memory::read(&memory.bytes()), Ok(memory));
        assert_eq!(Memory::read(&[]), Ok(Memory::default()));
        assert!(Memory::read(&[2; MEMORY_BYTES]).is_err());
        assert!(Memory::read(&memory.bytes()[..20]).is_err());
    }

    #[test]
    fn nonces_only_rise_and_a_key_change_keeps_the_previous() {
        let mut memory = Memory::default();
        let suite = |version| Suite { cipher: Cipher::Aes128, version };
        for (version, nonce, accepted) in [
            (1, 5, true),
            (1, 5, false),
            (1, 4, false),
            (1, 6, true),
            (2, 1, true),
            (1, 6, false),
            (1, 7, true),
            (2, 1, false),
        ] {
            assert_eq!(memory.accept(suite(version), nonce), accepted, "version {version} nonce {nonce}");
        }
    }
}
