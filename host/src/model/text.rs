//! Text that others have written, and how it is shown.

/// Whether a character does more than stand in its line: ends it, moves the cursor, or turns the direction of writing.
pub fn moves_text(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// The same text where nothing moves.
pub fn in_a_line(text: &str) -> String {
    text.chars().map(|c| if moves_text(c) { '\u{fffd}' } else { c }).collect()
}

/// What readers of JSON, TOML and addresses call what they want, and what people call it.
const WANTED: [(&str, &str); 19] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number from 0"),
    ("usize", "a whole number from 0"),
    ("i8", "a whole number from -128 to 127"),
    ("i16", "a whole number from -32768 to 32767"),
    ("i32", "a whole number"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("bool", "true or false"),
    ("a boolean", "true or false"),
    ("a string", "a text"),
    ("a borrowed string", "a text"),
    ("path string", "a path"),
    ("a sequence", "a list, in [ ]"),
    ("a map", "named values, in { }"),
    ("map", "named values, in { }"),
    ("unit", "nothing"),
];
/// What they say without a word of what they want.
const SAID: [(&str, &str); 5] = [
    ("invalid digit found in string", "a whole number from 0 is wanted"),
    ("cannot parse integer from empty string", "a whole number is wanted, and nothing stands there"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("provided string was not `true` or `false`", "true or false is wanted"),
];
const EXPECTED: &str = ", expected ";

/// The same refusal of a value without the names that programs have for what they want.
pub fn plainly(refusal: &str) -> String {
    let said = SAID.iter().fold(refusal.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    let Some((before, wanted)) = said.rsplit_once(EXPECTED) else { return said };
    // Readers of JSON say behind it where it stands.
    let (wanted, place) = wanted.find(" at line ").map_or((wanted, ""), |at| wanted.split_at(at));
    let kind = if wanted.starts_with("struct ") { "a map" } else { wanted };
    let wanted = WANTED.iter().find(|(theirs, _)| *theirs == kind).map_or(wanted, |(_, ours)| ours);
    let before = before
        .replace("invalid type: map", "invalid type: named values")
        .replace("invalid type: sequence", "invalid type: list");
    format!("{before}{EXPECTED}{wanted}{place}")
}

/// What a program calls the type of a value, as people call it.
pub fn kind_plainly(kind: &str) -> &str {
    WANTED.iter().find(|(theirs, _)| *theirs == kind).map_or(kind, |(_, ours)| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_values_are_for_people() {
        for (theirs, ours) in [
            (
                "invalid value: integer `-1`, expected u64",
                "invalid value: integer `-1`, expected a whole number from 0",
            ),
            (
                "invalid type: string \"usp\", expected a sequence",
                "invalid type: string \"usp\", expected a list, in [ ]",
            ),
            (
                "x: invalid type: map, expected u8 at line 1 column 9",
                "x: invalid type: named values, expected a whole number from 0 to 255 at line 1 column 9",
            ),
            ("invalid type: null, expected struct NewCommand", "invalid type: null, expected named values, in { }"),
            ("limit: invalid digit found in string", "limit: a whole number from 0 is wanted"),
            ("unknown variant `x`, expected `a` or `b`", "unknown variant `x`, expected `a` or `b`"),
            ("realm/address", "realm/address"),
        ] {
            assert_eq!(plainly(theirs), ours);
        }
    }
}
