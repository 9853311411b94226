//! The text of a file: from byte spans to lines and columns, and lines that may be shown.

use std::ops::Range;

use crate::properties::is_secret;

/// Bytes of the file, from and to.
pub(crate) type Span = Range<usize>;

/// A line that may be shown has at most this many characters; a base64 key on one line is no help to anybody.
const SHOWN_LINE_CHARS: usize = 200;

/// A typed value quoted in a message has at most this many characters.
const QUOTED_CHARS: usize = 60;

pub(crate) struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
    /// Values that must not be shown.
    pub secrets: Vec<Span>,
    /// Names of the environment that stand in the text, and their values, which are shown nowhere.
    pub replaced: Vec<(String, String)>,
}

/// Where a span begins, for people.
pub(crate) struct Located {
    pub line: usize,
    pub column: usize,
    pub width: usize,
    pub source: String,
}

impl<'a> Source<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, secrets: Vec::new(), replaced: Vec::new() }
    }

    /// `unparsed`: the line could not be parsed, so where a secret in it begins is not known and the name alone
    /// decides.
    pub(crate) fn locate(&self, span: &Span, unparsed: bool) -> Located {
        let from = self.floor(span.start);
        let line_start = self.text[..from].rfind('\n').map_or(0, |at| at + 1);
        let rest = &self.text[line_start..];
        let line = rest.lines().next().unwrap_or("");
        let line_end = line_start + line.len();
        let to = self.floor(span.end).clamp(from.min(line_end), line_end);
        let mut source: String = line
            .char_indices()
            .map(|(at, c)| if self.hides(line_start + at, c) { '*' } else { c })
            .take(SHOWN_LINE_CHARS)
            .collect();
        if unparsed && let Some(from) = self.doubtful_from(line_start, line) {
            let hidden = |(at, c): (usize, char)| if at < from || c.is_whitespace() { c } else { '*' };
            source = line.char_indices().map(hidden).take(SHOWN_LINE_CHARS).collect();
        }
        let column = self.text[line_start..from].chars().count() + 1;
        let shown_width = source.chars().count().saturating_sub(column - 1);
        let width = self.text[from.min(to)..to].chars().count().min(shown_width).max(1);
        Located { line: self.text[..from].matches('\n').count() + 1, column, width, source }
    }

    /// The name of the environment whose value, or a part of it, a text about this span tells.
    pub(crate) fn tells_of(&self, span: &Span, text: &str) -> Option<&str> {
        let (from, to) = (self.floor(span.start), self.floor(span.end));
        if !self.text[from..to.max(from)].contains("${") {
            return None;
        }
        let text = text.to_lowercase();
        let tells = |value: &str| {
            let pieces = value.split(|c: char| !c.is_alphanumeric()).filter(|piece| piece.len() >= 3);
            pieces.map(str::to_lowercase).any(|piece| text.contains(&piece))
        };
        self.replaced.iter().find(|(_, value)| tells(value)).map(|(name, _)| name.as_str())
    }

    /// Whether a value that does not parse could be a secret.
    pub(crate) fn may_be_secret(&self, span: &Span) -> bool {
        let from = self.floor(span.start);
        let line_start = self.text[..from].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].lines().next().unwrap_or("");
        self.doubtful_from(line_start, line).is_some()
    }

    /// Where a secret may begin in a line that does not parse: behind the sign after its name, or at once if a text of
    /// several lines was begun under such a name and may not have ended.
    fn doubtful_from(&self, line_start: usize, line: &str) -> Option<usize> {
        if let Some((name, _)) = line.split_once('=').filter(|(name, _)| is_secret(name)) {
            return Some(name.len() + 1);
        }
        let begins_text = |line: &&str| line.contains("\"\"\"") || line.contains("'''");
        let begin = self.text[..line_start].lines().rev().find(begins_text)?;
        begin.split_once('=').filter(|(name, _)| is_secret(name)).map(|_| 0)
    }

    /// What was typed, for a message: its first line, cut. Quotes of a string are part of it.
    pub(crate) fn typed(&self, span: &Span) -> String {
        let (from, to) = (self.floor(span.start), self.floor(span.end));
        let text = self.text[from..to.max(from)].lines().next().unwrap_or("");
        let hidden = self.secrets.iter().any(|secret| secret.start <= from && from < secret.end);
        match text.char_indices().nth(QUOTED_CHARS) {
            _ if hidden => "***".to_owned(),
            Some((cut, _)) => format!("{}…", &text[..cut]),
            None => text.to_owned(),
        }
    }

    fn hides(&self, at: usize, c: char) -> bool {
        !matches!(c, '"' | '\'') && self.secrets.iter().any(|secret| secret.contains(&at))
    }

    /// The parser's spans lie on character boundaries; a wrong one must cost a caret, not the process.
    fn floor(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_columns_in_characters() {
        let text = "a = 1\nname = \"zażółć\" # x";
        let at = text.find('#').unwrap();
        let found = Source::new("f", text).locate(&(at..at + 1), false);
        assert_eq!((found.line, found.column, found.width), (2, 17, 1));
    }

    #[test]
    fn survives_spans_outside_the_text() {
        let text = "ż";
        for span in [0..0, 1..1, 1..2, 2..2, 9..12, 0..99] {
            assert_eq!(Source::new("f", text).locate(&span, true).line, 1);
        }
        assert_eq!(Source::new("f", "").locate(&(0..1), false).column, 1);
    }

    #[test]
    fn hides_secrets_in_a_line_and_keeps_columns() {
        let text = "x = { \"sasl.password\" = \"hunter2\", a = 1 }";
        let secret = text.find("\"hunter2\"").unwrap();
        let mut source = Source::new("f", text);
        source.secrets.push(secret..secret + 9);
        let at = text.find("a = 1").unwrap();
        let found = source.locate(&(at..at + 1), false);
        assert_eq!(found.source, text.replace("hunter2", "*******"));
        assert_eq!(source.typed(&(secret..secret + 9)), "***");
    }

    #[test]
    fn hides_a_secret_in_a_line_that_does_not_parse() {
        let text = "\"sasl.password\" = hunter2";
        let found = Source::new("f", text).locate(&(18..19), true);
        assert_eq!((found.source.as_str(), found.column), ("\"sasl.password\" = *******", 19));
        let text = "ssl.key.pem = \"\"\"\n-----BEGIN\nMIIE == x\n";
        assert_eq!(Source::new("f", text).locate(&(30..31), true).source, "**** ** *");
    }
}
