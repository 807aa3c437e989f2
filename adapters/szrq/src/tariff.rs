//! The answers 1C and 1E: tier prices. Their structure is known and no meter is known that fills it, so they are only read, in the
//! meter's own scales; nothing says how billing modes and periods are numbered, so they are never written.

use polymeter_sdk::bytes::{FieldError, Reader};
use polymeter_sdk::{Parameter, ParameterValue};

/// Names of the fields in their order, with their bytes. The flag before a group says whether it counts.
const GROUPS: [&[(&str, usize)]; 5] = [
    &[("vendor-billing-mode", 1)],
    &PLAN,
    &PREVIOUS,
    &[("vendor-rent", 4), ("vendor-rent-mode", 1), ("vendor-rent-stop-value", 4), ("vendor-rent-stop-time", 6)],
    &[("vendor-show-balance", 1)],
];
const PLAN: [(&str, usize); 12] = [
    ("vendor-tiers", 1),
    ("vendor-tier-volume-1", 4),
    ("vendor-tier-volume-2", 4),
    ("vendor-tier-volume-3", 4),
    ("vendor-tier-volume-4", 4),
    ("vendor-tier-price-1", 4),
    ("vendor-tier-price-2", 4),
    ("vendor-tier-price-3", 4),
    ("vendor-tier-price-4", 4),
    ("vendor-tier-price-5", 4),
    ("vendor-tier-start", 6),
    ("vendor-billing-period", 1),
];
const PREVIOUS: [(&str, usize); 12] = [
    ("vendor-previous-tiers", 1),
    ("vendor-previous-tier-volume-1", 4),
    ("vendor-previous-tier-volume-2", 4),
    ("vendor-previous-tier-volume-3", 4),
    ("vendor-previous-tier-volume-4", 4),
    ("vendor-previous-tier-price-1", 4),
    ("vendor-previous-tier-price-2", 4),
    ("vendor-previous-tier-price-3", 4),
    ("vendor-previous-tier-price-4", 4),
    ("vendor-previous-tier-price-5", 4),
    ("vendor-previous-tier-start", 6),
    ("vendor-previous-billing-period", 1),
];

/// Whether a group was refused, and the fields of those that count.
pub fn read(r: &mut Reader) -> Result<(bool, Vec<Parameter>), FieldError> {
    let (mut refused, mut list) = (false, Vec::new());
    for group in GROUPS {
        let flag = r.i8("flag")?;
        refused |= flag < 0;
        for (name, bytes) in group {
            let field = r.take(name, *bytes)?;
            let value = match field {
                [one] => ParameterValue::Integer((*one).into()),
                _ => match field.try_into() {
                    Ok(word) => ParameterValue::Integer(u32::from_le_bytes(word).into()),
                    // A clock.
                    Err(_) => ParameterValue::Bytes(field.to_vec()),
                },
            };
            if flag == 1 {
                list.push(Parameter { name: (*name).into(), value });
            }
        }
    }
    Ok((refused, list))
}
