//! A finding: one mistake or warning, with its position, what was typed and what to write instead.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// Legal, but it can hurt.
    Warning,
}

impl Severity {
    /// `"error"` or `"warning"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake or warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Mistake or warning.
    pub severity: Severity,
    /// The file, as it was named to [`parse`](crate::parse) or [`load`](crate::load).
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// How many characters are meant, within the line; at least 1.
    pub width: usize,
    /// The key with its tables, as typed: `pipelines.orders.lanes`. Empty for a mistake of syntax.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line, secrets hidden.
    pub source: String,
}

/// One line: `wasmill.toml:12:3: unknown key `lane`; hint: did you mean `lanes`?`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}

impl Finding {
    /// As a compiler shows it: message, place, the line with a caret, hint. Several lines, no newline at the end.
    #[must_use]
    pub fn long(&self) -> String {
        let Self { file, line, column, message, source, .. } = self;
        let margin = " ".repeat(line.to_string().len());
        // A tab before the place is repeated, so that the caret stands under what it means at any tab width.
        let indent: String = source.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let caret = "^".repeat(self.width);
        let level = self.severity.as_str();
        let mut text = format!("{level}: {message}\n{margin}--> {file}:{line}:{column}\n{margin} |\n{line} | {source}");
        text += &format!("\n{margin} | {indent}{caret}");
        if let Some(hint) = &self.hint {
            text += &format!("\n{margin} = hint: {hint}");
        }
        text
    }
}

/// Every mistake in a file, in order of position; what is legal but dangerous is among them as a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Mistakes(pub Vec<Finding>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{finding}")?;
        }
        Ok(())
    }
}

/// Why a file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}
