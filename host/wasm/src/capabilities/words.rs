//! Last words: what a handler said of its own trouble in the call that runs. A trap says where it happened and never
//! why; the panic's text, the abort's message or the traceback that came before it does.

use crate::text;

/// Bytes that are shown.
const SHOWN: usize = 1024;
/// Bytes that are kept: a line that is longer than what is shown must not lose its beginning to its end.
const KEPT: usize = 4 * SHOWN;
/// Between two lines: what is shown is one.
const BETWEEN: &str = " | ";

/// The end of what was logged at warn or error, or written to standard error, since the call began. It is kept whether
/// the log took it or dropped it.
#[derive(Default)]
pub(crate) struct Words {
    kept: Vec<u8>,
}

impl Words {
    /// A call begins: what was said before is none of its business.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }

    /// A line of the log at warn or error. What was said before it is not what mattered last.
    pub(crate) fn line(&mut self, line: &str) {
        self.kept.clear();
        let line = line.trim_end().as_bytes();
        // The last line of several with those before it, as far as there is room; but that one from its beginning.
        let last = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let from = last.min(line.len().saturating_sub(KEPT));
        let end = line.len().min(from + KEPT);
        self.kept.extend_from_slice(&line[from..end]);
        self.kept.push(b'\n');
    }

    /// Bytes written to standard error, whole lines or not.
    pub(crate) fn stream(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        // Moved down only now and then: runtimes write a traceback in many small pieces.
        if self.kept.len() + bytes.len() > 2 * KEPT {
            let keep = KEPT - bytes.len();
            self.kept.drain(..self.kept.len() - keep.min(self.kept.len()));
        }
        self.kept.extend_from_slice(bytes);
    }

    /// The last lines, as many as may be shown, in one line that is safe to show. `None`: nothing was said.
    pub(crate) fn last(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let mut lines: Vec<&str> = Vec::new();
        let mut bytes = 0;
        for line in text.lines().rev().map(str::trim).filter(|line| !line.is_empty()) {
            bytes += line.len() + BETWEEN.len();
            if bytes > SHOWN && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        lines.reverse();
        (!lines.is_empty()).then(|| text::clean(&lines.join(BETWEEN), SHOWN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_log_counts_and_a_traceback_with_its_lines() {
        let mut words = Words::default();
        assert_eq!(words.last(), None);
        words.line("careful");
        words.line("panicked at src/lib.rs:3:5: no\x1b[31m\r\n");
        assert_eq!(words.last().as_deref(), Some(r"panicked at src/lib.rs:3:5: no\u{1b}[31m"));
        words.stream(b"\nTrace");
        words.stream(b"back:\n  File \"a.py\"\nValueError: no");
        let all = r#"panicked at src/lib.rs:3:5: no\u{1b}[31m | Traceback: | File "a.py" | ValueError: no"#;
        assert_eq!(words.last().as_deref(), Some(all));
        words.line("Traceback:\n  File \"b.py\"\nKeyError: x\n");
        assert_eq!(words.last().as_deref(), Some(r#"Traceback: | File "b.py" | KeyError: x"#));
        words.forget();
        assert_eq!(words.last(), None);
    }

    #[test]
    fn of_many_lines_the_last_are_shown_and_of_a_long_one_the_beginning() {
        let mut words = Words::default();
        for number in 0..10_000 {
            words.stream(format!("line {number}\n").as_bytes());
        }
        let said = words.last().unwrap();
        assert!(said.len() <= SHOWN && said.len() > SHOWN / 2 && said.ends_with("line 9998 | line 9999"), "{said}");
        assert!(words.kept.capacity() <= 4 * KEPT, "{}", words.kept.capacity());
        words.stream(&vec![b'x'; 1 << 20]);
        assert!(words.last().unwrap().len() < SHOWN + 50 && words.kept.len() <= 2 * KEPT);
        words.line(&format!("first\npanicked: {}", "ß".repeat(1 << 20)));
        let said = words.last().unwrap();
        assert!(said.starts_with("panicked: ßß") && said.len() < SHOWN + 50, "{said}");
        assert!(words.kept.len() <= 2 * KEPT);
        words.line(&format!("{}\nthe end", "x".repeat(1 << 20)));
        assert!(words.last().unwrap().ends_with("the end"));
    }
}
