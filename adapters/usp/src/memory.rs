//! What is remembered of a terminal across sessions: kind, keys, and the counters that must never go back.

use crate::security::{Seal, Suite, algorithm_code};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::keys::Cipher;
use polymeter_sdk::{Civil, Fault, civil};

const LAYOUT: u8 = 2;
/// One more: behind it stands the last valve order.
const WITH_ORDER: u8 = 1;
/// Two more: behind that stands an archive order under way.
const WITH_ARCHIVE: u8 = 2;
/// Before the tags and the suites of commands were kept; still read.
const FORMER_LAYOUT: u8 = 1;
pub const MEMORY_BYTES: usize = 45;
/// Commands whose suite is remembered; the station has one under way, the others are for late answers.
const ASKED_MAX: usize = 4;
/// No suite has this security byte: an empty place among the commands.
const NOT_ASKED: u8 = 0xFF;
const FLAG_SECURES: u8 = 1;
const FLAG_CLAIMED: u8 = 2;
const FLAG_NAMES_PENDING: u8 = 4;

/// Zeros mean "not known yet".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Terminal type as in the header.
    pub terminal: u8,
    /// It has secured a report once; see `Profile::plain_reports`.
    pub secures: bool,
    /// The key version in force is only what a plain registration said.
    pub claimed: bool,
    /// A plain registration has named the version of the key on its way.
    pub names_pending: bool,
    /// The key version in force; 0 is the factory key.
    pub key_version: u8,
    /// 0 unknown, 1 AES-128, 2 SM4.
    pub algorithm: u8,
    /// The last sequence number this side has used.
    pub sequence: u16,
    /// The last nonce this side has used, over all key versions: never used twice under any of them.
    pub nonce: u32,
    /// Security byte of the newest frame whose tag fitted, 0 none: the key in force, or until that is proven the one before.
    pub newest_under: u8,
    pub newest: Seal,
    /// The newest of them that was neither registration, heartbeat nor answer: it may come again after a new registration.
    pub newest_report: Seal,
    /// A key on its way: version, algorithm and check value of the last 4013.
    pub pending_key: (u8, u8, [u8; 3]),
    /// Sequence and security byte of the last commands, newest first.
    asked: [(u16, u8); ASKED_MAX],
    /// The last valve order, by which its answer is judged.
    pub valve_order: Option<ValveOrder>,
    /// Sequence of an archive order that is not answered yet, and how many entries it names.
    pub archive_order: Option<(u16, u8)>,
}

/// A 4031 that went out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValveOrder {
    pub sequence: u16,
    /// As in the frame.
    pub order: u8,
    pub id: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            terminal: 0,
            secures: false,
            claimed: false,
            names_pending: false,
            key_version: 0,
            algorithm: 0,
            sequence: 0,
            nonce: 0,
            newest_under: 0,
            newest: Seal::default(),
            newest_report: Seal::default(),
            pending_key: (0, 0, [0; 3]),
            asked: [(0, NOT_ASKED); ASKED_MAX],
            valve_order: None,
            archive_order: None,
        }
    }
}

/// What the counters say of a frame whose tag fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    New,
    /// Bit for bit one that was accepted and may not have heard its answer.
    Again,
    /// Its nonce was used before.
    Replayed,
    /// Neither the key in force nor one that may take its place.
    KeyOutOfForce,
}

impl Memory {
    // | Off | Size | Field                              | Off | Size | Field                            |
    // |   0 |    1 | layout, 2; 3 and 5 with a valve    |  11 |    1 | security byte of the newest frame|
    // |     |      | order, 4 and 5 with one of archive |     |      |                                  |
    // |   1 |    1 | terminal type                      |  12 |    8 | its nonce (LE) and tag           |
    // |   2 |    1 | bit 0 secures its reports, 1 key   |  20 |    8 | the same of the newest report    |
    // |     |      | version claimed, 2 names the next  |  28 |    1 | version of a key on its way      |
    // |   3 |    1 | key version                        |  29 |    1 | its algorithm                    |
    // |   4 |    1 | algorithm                          |  30 |    3 | its check value                  |
    // |   5 |    2 | last sequence sent, LE             |  33 |   12 | commands: 4 x sequence (LE),     |
    // |   7 |    4 | last nonce sent, LE                |     |      | security byte; FF none           |
    // |     |      |                                    |  45 |    7 | valve order: sequence (LE),      |
    // |     |      |                                    |     |      | order, order id (LE)             |
    // |     |      |                                    | end |    3 | archive order: sequence (LE),    |
    // |     |      |                                    |     |      | entries                          |
    pub fn read(bytes: &[u8]) -> Result<Self, FieldError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut r = Reader::new(bytes);
        let layout = r.u8("memory layout")?;
        if !(FORMER_LAYOUT..=LAYOUT + WITH_ORDER + WITH_ARCHIVE).contains(&layout) {
            return Err(FieldError::invalid("memory layout", 0, i64::from(layout)));
        }
        let behind = layout.saturating_sub(LAYOUT);
        let terminal = r.u8("terminal type")?;
        let flags = r.u8("memory flags")?;
        let mut memory = Self {
            terminal,
            secures: flags & FLAG_SECURES != 0,
            claimed: flags & FLAG_CLAIMED != 0,
            names_pending: flags & FLAG_NAMES_PENDING != 0,
            key_version: r.u8("key version")? & 15,
            algorithm: r.u8("algorithm")?,
            sequence: r.u16_le("sequence")?,
            nonce: r.u32_le("nonce")?,
            ..Self::default()
        };
        if layout == FORMER_LAYOUT {
            memory.read_former(&mut r)?;
        } else {
            memory.newest_under = r.u8("security byte")?;
            memory.newest = Seal { nonce: r.u32_le("newest nonce")?, tag: r.array("newest tag")? };
            memory.newest_report = Seal { nonce: r.u32_le("report nonce")?, tag: r.array("report tag")? };
        }
        memory.pending_key = (r.u8("new key version")?, r.u8("new algorithm")?, r.array("check value")?);
        if layout != FORMER_LAYOUT {
            for asked in &mut memory.asked {
                *asked = (r.u16_le("command")?, r.u8("command's security byte")?);
            }
        }
        if behind & WITH_ORDER != 0 {
            let (sequence, order) = (r.u16_le("valve order's command")?, r.u8("valve order")?);
            memory.valve_order = Some(ValveOrder { sequence, order, id: r.u32_le("order id")? });
        }
        if behind & WITH_ARCHIVE != 0 {
            memory.archive_order = Some((r.u16_le("archive order's command")?, r.u8("archive order's entries")?));
        }
        r.finish("memory")?;
        Ok(memory)
    }

    /// Two suites with their last nonces. Of these only the one in force goes on; where it has not been heard yet, the other.
    fn read_former(&mut self, r: &mut Reader<'_>) -> Result<(), FieldError> {
        let accepted = [
            (r.u8("security byte")?, r.u32_le("accepted nonce")?),
            (r.u8("security byte")?, r.u32_le("accepted nonce")?),
        ];
        let in_force = accepted.iter().find(|(security, _)| *security != 0 && *security == self.in_force());
        let (security, nonce) = *in_force.unwrap_or(&accepted[0]);
        self.newest_under = security;
        self.newest.nonce = nonce;
        self.claimed = security == 0 && self.key_version > 0;
        Ok(())
    }

    /// Of a terminal whose memory cannot be read. Nonces go on from the clock, which is ahead of them as long as fewer than one
    /// frame a second was sent since 2000: none is used a second time.
    pub fn anew(now: Civil) -> Self {
        let seconds = civil::date(2000, 1, 1).map_or(now, |start| now - start);
        let nonce = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Self { nonce, sequence: nonce as u16, ..Self::default() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MEMORY_BYTES + 10);
        let with = |part, is_there| if is_there { part } else { 0 };
        let layout =
            LAYOUT + with(WITH_ORDER, self.valve_order.is_some()) + with(WITH_ARCHIVE, self.archive_order.is_some());
        let flags =
            [(FLAG_SECURES, self.secures), (FLAG_CLAIMED, self.claimed), (FLAG_NAMES_PENDING, self.names_pending)];
        let flags = flags.into_iter().fold(0, |all, (flag, set)| if set { all | flag } else { all });
        out.extend_from_slice(&[layout, self.terminal, flags, self.key_version, self.algorithm]);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.push(self.newest_under);
        for seal in [self.newest, self.newest_report] {
            out.extend_from_slice(&seal.nonce.to_le_bytes());
            out.extend_from_slice(&seal.tag);
        }
        out.extend_from_slice(&[self.pending_key.0, self.pending_key.1]);
        out.extend_from_slice(&self.pending_key.2);
        for (sequence, security) in self.asked {
            out.extend_from_slice(&sequence.to_le_bytes());
            out.push(security);
        }
        if let Some(ValveOrder { sequence, order, id }) = self.valve_order {
            out.extend_from_slice(&sequence.to_le_bytes());
            out.push(order);
            out.extend_from_slice(&id.to_le_bytes());
        }
        if let Some((sequence, entries)) = self.archive_order {
            out.extend_from_slice(&sequence.to_le_bytes());
            out.push(entries);
        }
        out
    }

    /// The suite of frames that this side begins; `None`: plain, the terminal has no key of its own.
    pub fn suite(&self) -> Option<Suite> {
        let (version, algorithm) = match self.pending_key {
            (version, algorithm, _) if self.names_pending && version > 0 => (version, algorithm),
            _ => (self.key_version, self.algorithm),
        };
        let cipher = if algorithm == algorithm_code(Cipher::Sm4) { Cipher::Sm4 } else { Cipher::Aes128 };
        (version > 0).then_some(Suite { cipher, version })
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

    /// A command goes out: its answer has to come the same way.
    pub fn ask(&mut self, sequence: u16, security: u8) {
        self.asked.rotate_right(1);
        self.asked[0] = (sequence, security);
    }

    /// The security byte of the command with this number; `None`: not known any more.
    pub fn asked(&self, sequence: u16) -> Option<u8> {
        self.asked.iter().find(|asked| asked.0 == sequence && asked.1 != NOT_ASKED).map(|asked| asked.1)
    }

    /// The valve order with this number; `None`: not known any more.
    pub fn valve_order_of(&self, sequence: u16) -> Option<ValveOrder> {
        self.valve_order.filter(|sent| sent.sequence == sequence)
    }

    /// Weighs a frame whose tag fits. Believed are the key in force, the one on its way, and the one before until the present one
    /// is proven; a key once left behind never comes back, since whoever recorded its frames could play them again.
    pub fn standing(&self, suite: Suite, seal: Seal) -> Standing {
        let security = suite.byte();
        let own_after_factory = suite.version > 0 && self.newest_under << 4 == 0;
        if self.newest_under == security {
            return match seal {
                _ if seal.nonce > self.newest.nonce => Standing::New,
                _ if seal == self.newest || seal == self.newest_report => Standing::Again,
                _ => Standing::Replayed,
            };
        }
        let may_follow = self.newest_under == 0 || own_after_factory;
        if may_follow || security == self.in_force() || security == self.on_its_way() {
            Standing::New
        } else {
            Standing::KeyOutOfForce
        }
    }

    /// Notes a frame that is new. The key that it proves is in force from now on.
    pub fn accept(&mut self, suite: Suite, seal: Seal, is_report: bool) {
        let security = suite.byte();
        let is_previous = self.newest_under == security && self.in_force() != security && !self.claimed;
        if !is_previous {
            self.adopt_key(suite.version, algorithm_code(suite.cipher));
        }
        if self.newest_under != security {
            (self.newest_under, self.newest_report) = (security, Seal::default());
        }
        self.newest = seal;
        if is_report {
            self.newest_report = seal;
        }
    }

    /// A plain registration names a key version. Nobody vouches for it, so it never takes anything away: it tells which of the two
    /// keys is in force while one is on its way, and it is believed only while no frame has proven a key of the terminal's own.
    /// False: it was not believed.
    pub fn claim_key(&mut self, version: u8) -> bool {
        if version == self.key_version || (version > 0 && version == self.pending_key.0) {
            self.names_pending = version != self.key_version;
            return true;
        }
        let unproven = self.claimed || self.key_version == 0;
        if unproven && version > self.key_version {
            (self.key_version, self.claimed) = (version, true);
            return true;
        }
        false
    }

    /// This key is in force, as a tag or a check value has proven.
    pub fn adopt_key(&mut self, version: u8, algorithm: u8) {
        (self.key_version, self.algorithm) = (version & 15, algorithm);
        (self.claimed, self.names_pending) = (false, false);
    }

    const fn in_force(&self) -> u8 {
        self.algorithm << 4 | self.key_version
    }
    const fn on_its_way(&self) -> u8 {
        self.pending_key.1 << 4 | self.pending_key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(version: u8) -> Suite {
        Suite { cipher: Cipher::Aes128, version }
    }
    fn seal(nonce: u32) -> Seal {
        Seal { nonce, tag: [nonce as u8; 4] }
    }
    /// Judges and, if it is new, notes.
    fn hear(memory: &mut Memory, version: u8, nonce: u32) -> Standing {
        let standing = memory.standing(suite(version), seal(nonce));
        if standing == Standing::New {
            memory.accept(suite(version), seal(nonce), false);
        }
        standing
    }

    #[test]
    fn survives_the_round_trip() {
        let mut memory = Memory {
            terminal: 2,
            secures: true,
            claimed: true,
            names_pending: true,
            key_version: 3,
            algorithm: 2,
            sequence: 0x0102,
            nonce: 77,
            newest_under: 0x23,
            newest: seal(5),
            newest_report: seal(4),
            pending_key: (4, 1, [1, 2, 3]),
            ..Memory::default()
        };
        memory.ask(0x0102, 0x23);
        assert_eq!(memory.bytes().len(), MEMORY_BYTES);
        assert_eq!(Memory::read(&memory.bytes()), Ok(memory));
        memory.valve_order = Some(ValveOrder { sequence: 0x0102, order: 3, id: 0x0403_0201 });
        assert_eq!(Memory::read(&memory.bytes()), Ok(memory));
        assert!(Memory::read(&memory.bytes()[..MEMORY_BYTES]).is_err());
        memory.archive_order = Some((0x0102, 77));
        assert_eq!(Memory::read(&memory.bytes()), Ok(memory));
        memory.valve_order = None;
        assert_eq!(Memory::read(&memory.bytes()), Ok(memory));
        assert_eq!(Memory::read(&[]), Ok(Memory::default()));
        assert!(Memory::read(&[9; MEMORY_BYTES]).is_err());
        assert!(Memory::read(&memory.bytes()[..20]).is_err());
    }

    #[test]
    fn the_former_layout_is_read_and_keeps_the_counter_of_the_key_in_force() {
        let former = |accepted: [u8; 10]| {
            let bytes = [&[1, 1, 1, 2, 1, 5, 0, 9, 0, 0, 0][..], &accepted, &[3, 1, 7, 7, 7]].concat();
            Memory::read(&bytes).expect("readable")
        };
        let heard = former([0x11, 7, 0, 0, 0, 0x12, 3, 0, 0, 0]);
        assert_eq!((heard.newest_under, heard.newest.nonce, heard.pending_key.0), (0x12, 3, 3));
        assert_eq!(heard.standing(suite(2), seal(3)), Standing::Replayed);
        assert_eq!(heard.standing(suite(1), seal(9)), Standing::KeyOutOfForce);
        let not_heard = former([0x11, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((not_heard.newest_under, not_heard.claimed), (0x11, false));
        assert!(former([0; 10]).claimed);
    }

    #[test]
    fn nonces_only_rise_and_a_key_left_behind_never_comes_back() {
        use Standing::{KeyOutOfForce, New, Replayed};
        let mut memory = Memory::default();
        assert_eq!(hear(&mut memory, 1, 5), New);
        assert_eq!(memory.standing(suite(1), seal(5)), Standing::Again);
        assert_eq!(
            memory.standing(suite(1), Seal { nonce: 5, tag: [9; 4] }),
            Replayed,
            "another frame under the same nonce"
        );
        assert_eq!(hear(&mut memory, 1, 4), Replayed);
        assert_eq!(hear(&mut memory, 2, 1), KeyOutOfForce, "nobody has sent it that key");
        memory.pending_key = (2, 1, [0; 3]);
        assert_eq!(hear(&mut memory, 1, 6), New, "still in force");
        memory.adopt_key(2, 1);
        assert_eq!(hear(&mut memory, 1, 7), New, "the previous one, until the present one is proven");
        assert_eq!(memory.key_version, 2);
        assert_eq!(hear(&mut memory, 2, 1), New);
        memory.pending_key = (3, 1, [0; 3]);
        assert_eq!(hear(&mut memory, 3, 0), New, "the key on its way proves itself");
        // Recordings of all former keys, round and round.
        for _ in 0..3 {
            for version in 1..3 {
                assert_eq!(hear(&mut memory, version, 1000), KeyOutOfForce, "version {version}");
            }
        }
        assert_eq!((memory.key_version, memory.newest.nonce), (3, 0));
    }

    #[test]
    fn a_plain_registration_takes_no_key_away() {
        let mut memory = Memory::default();
        assert!(memory.claim_key(0) && memory.claim_key(2), "nothing is known yet");
        assert!(!memory.claim_key(0) && !memory.claim_key(1), "never down");
        assert_eq!(memory.suite(), Some(suite(2)));
        hear(&mut memory, 1, 1);
        assert_eq!(memory.suite(), Some(suite(1)), "a tag outweighs a claim");
        assert!(!memory.claim_key(0) && !memory.claim_key(9), "proven");
        memory.pending_key = (2, 1, [0; 3]);
        assert!(memory.claim_key(2));
        assert_eq!(memory.suite(), Some(suite(2)), "the key on its way may have arrived");
        assert!(memory.claim_key(1));
        assert_eq!(memory.suite(), Some(suite(1)), "or not");
    }

    #[test]
    fn the_factory_key_is_followed_by_an_own_one() {
        let mut memory = Memory::default();
        assert_eq!(hear(&mut memory, 0, 9), Standing::New);
        assert_eq!(hear(&mut memory, 1, 1), Standing::New, "given to it on the spot");
        assert_eq!(hear(&mut memory, 0, 10), Standing::KeyOutOfForce);
    }

    #[test]
    fn the_suites_of_the_last_commands_are_known() {
        let mut memory = Memory::default();
        assert_eq!(memory.asked(0), None);
        (1..=5).for_each(|sequence| memory.ask(sequence, 0x10 | sequence as u8));
        assert_eq!((memory.asked(1), memory.asked(2), memory.asked(5)), (None, Some(0x12), Some(0x15)));
    }

    #[test]
    fn a_new_memory_counts_on_from_the_clock() {
        let now = civil::time(2024, 3, 15, 0, 20, 5).expect("exists");
        assert_eq!(Memory::anew(now).nonce, 763_777_205);
        assert_eq!((Memory::anew(-1).nonce, Memory::anew(Civil::MAX).nonce), (0, u32::MAX));
    }
}
