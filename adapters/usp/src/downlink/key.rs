//! 4013: a new key, wrapped under the one in force; the terminal proves by the check value that it holds it.

use super::{Order, Rest};
use crate::frame::message;
use crate::memory::Memory;
use crate::profile::{Preferred, Profile};
use crate::security::{self, Keys, Suite, algorithm_code};
use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::keys::{Cipher, Key};
use polymeter_sdk::{AnswerBody, Fault, KeyChange, KeyCipher};

/// Remembered until the terminal answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyOnItsWay {
    pub version: u8,
    pub algorithm: u8,
    pub check: [u8; 3],
    /// What carries it; a terminal without a key of its own has its factory key, version 0.
    pub carrier: Suite,
}

// | Off | Size | Field                              |
// |   0 |    1 | new version, 1..15                 |
// |   1 |    1 | algorithm: 1 AES-128, 2 SM4        |
// |   2 |   16 | new key, wrapped                   |
// |  18 |    3 | first bytes of E_new(zeros)        |
pub fn order(profile: Profile, memory: &Memory, address: &str, change: &KeyChange) -> Result<Order, Fault> {
    if !(1..=15).contains(&change.version) {
        return Err(Fault::out_of_range("version", change.version, "1..=15"));
    }
    if change.slot != security::slot(change.version) {
        let allowed = format!("`{}`: a terminal's key lies in the slot of its version", change.version);
        return Err(Fault::out_of_range("slot", format!("`{}`", change.slot), &allowed));
    }
    // A version that comes back would bring its recorded frames back too.
    let in_force = memory.suite().map_or(memory.key_version, |suite| suite.version);
    if change.version <= in_force {
        return Err(Fault::out_of_range("version", change.version, &format!("above {in_force}, the version in force")));
    }
    let cipher = match change.cipher {
        KeyCipher::Aes128 => Cipher::Aes128,
        KeyCipher::Sm4 => Cipher::Sm4,
    };
    let factory = Suite { cipher: factory_cipher(profile, memory), version: 0 };
    let carrier = memory.suite().unwrap_or(factory);
    let new = Key::open(address, &change.slot, cipher)?;
    let (wrapped, check) = Keys::open(address, carrier)?.wrap(&new)?;
    let algorithm = algorithm_code(cipher);
    let mut body = Vec::with_capacity(21);
    body.extend_from_slice(&[change.version, algorithm]);
    body.extend_from_slice(&wrapped);
    body.extend_from_slice(&check);
    let new_key = Some(KeyOnItsWay { version: change.version, algorithm, check, carrier });
    // A terminal that restarted in between would take it for another change.
    Ok(Order { repeatable: false, new_key, ..Order::new(message::SET_KEY, body) })
}

fn factory_cipher(profile: Profile, memory: &Memory) -> Cipher {
    match (memory.algorithm, profile.cipher) {
        (1, _) | (0, Preferred::Aes128) => Cipher::Aes128,
        _ => Cipher::Sm4,
    }
}

/// The check value; compared by whoever remembers what was sent.
pub fn answer(r: &mut Reader<'_>) -> Result<Rest, FieldError> {
    let check: [u8; 3] = r.array("check value")?;
    Ok(AnswerBody::Raw(check.to_vec()).into())
}
