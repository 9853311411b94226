//! What a guest writes to standard output and error, made lines of the log.

use crate::capabilities::log::Lines;
use crate::spec::LogLevel;
use crate::text;

/// The number of standard output.
pub(super) const OUT: u32 = 0;
/// The number of standard error.
pub(super) const ERR: u32 = 1;

/// What was written to standard output and error since the last end of a line.
#[derive(Default)]
pub(crate) struct Stdio([Line; 2]);

#[derive(Default)]
struct Line {
    kept: Vec<u8>,
    cut: usize,
}

impl Stdio {
    /// Takes bytes written to a stream and gives the lines that are complete now, `room` of them at most; the others
    /// are only counted, as a megabyte can hold a million of them. Of a line no more than `limit` bytes are kept.
    pub(crate) fn take(&mut self, stream: u32, bytes: &[u8], room: usize, limit: usize) -> Lines {
        let (level, line) = match stream {
            OUT => (LogLevel::Info, &mut self.0[0]),
            _ => (LogLevel::Warn, &mut self.0[1]),
        };
        let mut lines = Lines { level, texts: Vec::new(), dropped: 0 };
        for (index, part) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                if lines.texts.len() < room {
                    lines.texts.extend(line.end(limit));
                } else {
                    lines.dropped += u64::from(line.forget());
                }
            }
            line.push(part, limit);
        }
        lines
    }

    /// The lines that were begun and not ended, when nothing more will come for a while.
    pub(crate) fn rest(&mut self, limit: usize) -> impl Iterator<Item = (LogLevel, String)> + use<> {
        let [out, err] = &mut self.0;
        [(LogLevel::Info, out.end(limit)), (LogLevel::Warn, err.end(limit))]
            .into_iter()
            .filter_map(|(level, text)| Some((level, text?)))
    }
}

impl Line {
    fn push(&mut self, part: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.kept.len()).min(part.len());
        self.kept.extend_from_slice(&part[..room]);
        self.cut += part.len() - room;
    }

    /// Ends the line unseen, and says whether there was one.
    fn forget(&mut self) -> bool {
        let was = !self.kept.is_empty();
        self.kept.clear();
        self.cut = 0;
        was
    }

    /// Ends the line; an empty one is none.
    fn end(&mut self, limit: usize) -> Option<String> {
        let cut = std::mem::take(&mut self.cut);
        let line = String::from_utf8_lossy(&self.kept);
        let mut text = text::clean(line.trim_end(), limit);
        self.kept.clear();
        if cut > 0 {
            text.push_str(&format!("... ({cut} bytes cut)"));
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stdio: &mut Stdio, stream: u32, bytes: &[u8]) -> Vec<String> {
        stdio.take(stream, bytes, 2, 10).texts
    }

    #[test]
    fn output_becomes_lines_also_in_pieces() {
        let mut stdio = Stdio::default();
        assert_eq!(lines(&mut stdio, OUT, b"one\ntw"), ["one"]);
        assert_eq!(lines(&mut stdio, ERR, b"else\r\n\n"), ["else"]);
        assert_eq!(lines(&mut stdio, OUT, b"o\n\xffthree"), ["two"]);
        assert_eq!(stdio.rest(10).collect::<Vec<_>>(), [(LogLevel::Info, "\u{fffd}three".to_owned())]);
        assert_eq!(stdio.rest(10).count(), 0);
    }

    #[test]
    fn lines_beyond_the_room_are_counted_and_not_made() {
        let lines = Stdio::default().take(OUT, b"1\n2\n3\n\n4\n", 2, 10);
        assert_eq!((lines.texts.len(), lines.dropped), (2, 2));
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_limit() {
        let mut stdio = Stdio::default();
        for _ in 0..1000 {
            assert!(lines(&mut stdio, OUT, b"0123456789").is_empty());
        }
        assert!(stdio.0[0].kept.capacity() < 100);
        assert_eq!(lines(&mut stdio, OUT, b"\n"), ["0123456789... (9990 bytes cut)"]);
    }
}
