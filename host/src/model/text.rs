//! Text that others have written.

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
