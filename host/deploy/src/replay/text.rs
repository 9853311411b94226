//! Values as a person may read them, cut to a bounded length.

/// Characters of a value that are kept.
pub(super) const SHOWN_CHARACTERS: usize = 160;
/// Of those, so many stand in front of the place where two long values part.
const CHARACTERS_IN_FRONT: usize = 40;

/// The byte at which two values part.
pub(super) fn parting(old: Option<&[u8]>, new: Option<&[u8]>) -> usize {
    let (Some(old), Some(new)) = (old, new) else { return 0 };
    old.iter().zip(new).take_while(|(old, new)| old == new).count()
}

/// Bytes as a person may read them: text in quotes, without characters that a terminal would obey; else hexadecimal. Of a long
/// one the part around `parting`.
pub(super) fn shown(bytes: &[u8], parting: usize) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return format!("\"{}\"", cut(text, parting));
    }
    let from = if bytes.len() <= SHOWN_CHARACTERS / 2 {
        0
    } else {
        parting.min(bytes.len()).saturating_sub(CHARACTERS_IN_FRONT / 2)
    };
    let part = &bytes[from..bytes.len().min(from + SHOWN_CHARACTERS / 2)];
    let hexadecimal: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let (front, back) = dots(from > 0, from + part.len() < bytes.len());
    format!("0x{front}{hexadecimal}{back}")
}

/// A text of bounded length: of a long one the part around the byte `parting`, without control characters.
pub(super) fn cut(text: &str, parting: usize) -> String {
    let long = text.char_indices().nth(SHOWN_CHARACTERS).is_some();
    let from = if long {
        text[..text.floor_char_boundary(parting)].char_indices().rev().nth(CHARACTERS_IN_FRONT).map_or(0, |(at, _)| at)
    } else {
        0
    };
    let rest = &text[from..];
    let to = rest.char_indices().nth(SHOWN_CHARACTERS).map_or(rest.len(), |(at, _)| at);
    let (front, back) = dots(from > 0, to < rest.len());
    let mut kept = front.to_owned();
    for letter in rest[..to].chars() {
        if letter.is_control() || is_mark(letter) {
            kept.extend(letter.escape_default());
        } else {
            kept.push(letter);
        }
    }
    kept + back
}

/// Marks that nobody sees, and that turn the direction of what stands beside them.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn dots(front: bool, back: bool) -> (&'static str, &'static str) {
    (if front { "..." } else { "" }, if back { "..." } else { "" })
}
