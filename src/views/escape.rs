//! The one neutraliser for what services, images and manifests bring to a person's terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with everything made visible that a terminal would obey, or that would hide or turn round other text:
/// C0 controls but for the tab as `^X`, DEL as `^?`, C1 controls, bidirectional controls, invisible characters and
/// line separators as `\u{..}`.
#[must_use]
pub fn neutralise(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\u{7f}' => safe.push_str("^?"),
            c if c < ' ' && c != '\t' => {
                safe.push('^');
                safe.push(char::from(c as u8 ^ 0x40));
            }
            c if is_dangerous(c) => {
                let _ = write!(safe, "\\u{{{:x}}}", c as u32);
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

fn is_dangerous(c: char) -> bool {
    match c {
        '\t' => false,
        // Soft hyphen, Arabic letter mark, Mongolian separator, zero-width and bidirectional controls, separators,
        // invisible operators, isolates, fillers, byte-order mark, interlinear marks, tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (vector, shown) in [
            ("plain\ttext äöü 日本", "plain\ttext äöü 日本"),
            ("\x1b[31mred\x1b[0m", "^[[31mred^[[0m"),
            ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "^[]8;;http://x^Glink^[]8;;^G"),
            ("\x1bP1$r\x1b\\", "^[P1$r^[\\"),
            ("one\rtwo", "one^Mtwo"),
            ("nul\0del\x7f", "nul^@del^?"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
            ("z\u{200b}w\u{feff}", "z\\u{200b}w\\u{feff}"),
            ("l\u{2028}s", "l\\u{2028}s"),
            ("t\u{e0041}", "t\\u{e0041}"),
        ] {
            assert_eq!(neutralise(vector), shown);
        }
    }
}
