//! What was found so far in one file, and the places findings point to.

use std::collections::HashSet;

use crate::finding::{Finding, Severity};
use crate::source::{Source, Span};

/// A key or a value of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub span: Span,
    /// The key with its tables.
    pub key: String,
}

impl Place {
    /// The key without its tables.
    pub(crate) fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or("")
    }
}

/// The tables of the file that have a key of this name, as seen from the table at a path.
pub(crate) type TablesWith = fn(name: &str, from: &str) -> Vec<String>;

pub(crate) struct Report<'a> {
    pub source: Source<'a>,
    findings: Vec<Finding>,
    /// Values about which everything has been said: where they start.
    settled: HashSet<usize>,
    /// The file did not parse to its end: what is absent may only be hidden behind the mistake.
    pub partial: bool,
    /// Where an unknown key may belong. Asked of the manual, which stands above the tables.
    pub tables_with: TablesWith,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: Source<'a>, tables_with: TablesWith) -> Self {
        Self { source, findings: Vec::new(), settled: HashSet::new(), partial: false, tables_with }
    }

    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, place, message.into(), Some(hint.into()), false);
    }

    pub(crate) fn warn(&mut self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Warning, place, message.into(), Some(hint.into()), false);
    }

    /// A mistake of syntax; every other mistake of its line would only be an echo of it.
    pub(crate) fn syntax(&mut self, span: Span, message: &str) {
        self.partial = true;
        let place = Place { span, key: String::new() };
        let quotable = message.starts_with("string values must be quoted") && !self.source.may_be_secret(&place.span);
        let hint = if quotable {
            Some(format!("write `\"{}\"`", self.source.typed(&place.span)))
        } else if message.starts_with("missing comma between array elements") {
            Some("is a `]` missing in a line above?".to_owned())
        } else {
            None
        };
        self.push(Severity::Error, &place, message.to_owned(), hint, true);
    }

    /// Nothing more is to be said about the value that starts here.
    pub(crate) fn settle(&mut self, at: &Span) {
        self.settled.insert(at.start);
    }

    pub(crate) fn is_settled(&self, at: &Span) -> bool {
        self.settled.contains(&at.start)
    }

    fn push(&mut self, severity: Severity, place: &Place, message: String, hint: Option<String>, syntax: bool) {
        let at = self.source.locate(&place.span, syntax);
        // What to write instead is made of the value, which may come from the environment.
        let hint = hint.map(|hint| match self.source.tells_of(&place.span, &hint) {
            Some(name) => format!("look at what the environment holds for `{name}`"),
            None => hint,
        });
        let same_line = |known: &Finding| known.key.is_empty() && known.line == at.line;
        if self.partial && self.findings.iter().any(same_line) {
            return;
        }
        let same = |known: &Finding| known.message == message && (known.line, known.column) == (at.line, at.column);
        if self.findings.iter().any(same) {
            return;
        }
        self.findings.push(Finding {
            severity,
            file: self.source.name.to_owned(),
            line: at.line,
            column: at.column,
            width: at.width,
            key: place.key.clone(),
            message,
            hint: hint.filter(|hint| !hint.is_empty()),
            source: at.source,
        });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// In order of position; what was found first comes first at the same place.
    pub(crate) fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
        self.findings
    }
}
