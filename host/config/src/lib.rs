//! `wasmill.toml`, read and checked.
//!
//! Nouns: a [`Finding`] is one mistake or warning with its position; a [`Config`] is a file without mistakes and
//! cannot hold a bad value; a [key](keys) is one name a table may hold, with its kind, default, bounds and meaning.
#![deny(unsafe_code)]

mod checked;
mod finding;
mod properties;
mod provisional;

use std::path::Path;

pub use checked::{
    Admin, Assignor, Config, Dev, Kafka, Limits, OnExhausted, Order, OutOfRange, Output, Pipeline, Start,
};
pub use finding::{Finding, LoadError, Loaded, Mistakes, Severity};
pub use properties::Properties;
pub use provisional::{BreakerPolicy, CommitMode, RetryPolicy, SpanBound};

/// Reads and checks the file at `path`.
///
/// # Errors
/// [`LoadError::Read`] if the file cannot be read, [`LoadError::Mistakes`] with every mistake in it otherwise.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.into(), source })?;
    Ok(parse(&path.display().to_string(), &text)?)
}

/// Checks `text`; `name` is the file's name in findings, and its folder is what relative paths start from.
///
/// # Errors
/// Every mistake in the text.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Mistakes> {
    let _ = (name, text);
    Err(Mistakes(Vec::new()))
}

/// The JSON schema of the file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    serde_json::Value::Null
}
