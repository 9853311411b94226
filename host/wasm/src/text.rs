//! Text that a guest wrote, made safe to show: cut, and free of anything that steers a terminal, a log or a page.

/// `text` with control characters escaped, and cut to `limit` bytes at most (plus a note of how much is missing).
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let cut = text.floor_char_boundary(limit);
    let kept = &text[..cut];
    let mut out = if kept.contains(steers) { escape(kept, limit) } else { kept.to_owned() };
    if cut < text.len() {
        out.push_str(&format!("... ({} bytes cut)", text.len() - cut));
    }
    out
}

/// The same for a text of several lines that the host made of a guest's names.
pub(crate) fn clean_lines(text: &str, limit: usize) -> String {
    let cut = text.floor_char_boundary(limit);
    text[..cut].lines().map(|line| clean(line, limit)).collect::<Vec<_>>().join("\n")
}

/// Control characters, line separators, and what turns the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // An escape is longer than what it stands for: 4 KiB of NULs must not become 20.
        if out.len() >= limit {
            out.push_str("...");
            break;
        }
        if steers(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_steers_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mred\r\nb\0\u{202e}x", 100), r"a\u{1b}[31mred\r\nb\u{0}\u{202e}x");
        assert_eq!(clean("grüße 漢字 ✓", 100), "grüße 漢字 ✓");
    }

    #[test]
    fn cuts_between_characters_and_says_so() {
        assert_eq!(clean("abcdef", 4), "abcd... (2 bytes cut)");
        assert_eq!(clean("aß", 2), "a... (2 bytes cut)");
        assert!(clean(&"\0".repeat(5000), 4096).len() < 4200);
    }

    #[test]
    fn keeps_the_lines_of_a_backtrace() {
        assert_eq!(clean_lines("one\n\ttwo\u{7}", 100), "one\n\\ttwo\\u{7}");
    }
}
