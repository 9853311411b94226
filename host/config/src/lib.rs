//! `wasmill.toml`, read and checked.
//!
//! Nouns: a [`Finding`] is one mistake or warning with its position; a [`Config`] is a file without mistakes and
//! cannot hold a bad value; a [key](keys) is one name a table may hold, with its kind, default, bounds and meaning.
#![deny(unsafe_code)]

mod changes;
mod check;
mod checked;
mod compound;
mod convert;
mod describe;
mod environment;
pub mod file;
mod finding;
mod handler;
mod kind;
mod library;
mod manual;
mod owned;
mod properties;
mod raw;
mod refusal;
mod report;
mod rules;
mod source;
mod table;
mod text;
mod units;

use std::path::{Path, PathBuf};

pub use changes::{Change, changes, process_changes};
pub use checked::{
    Admin, Backtest, Canary, CanaryBy, Config, Dev, Grant, History, Kafka, Limits, Loaded, OnExhausted, OnStartFailure,
    Output, Oversized, Pipeline, Rollout, Shadow, Swap, Timestamp, TimestampRefused, Token, UnknownRollout, Watched,
};
pub use finding::{Finding, LoadError, Mistakes, Severity};
pub use handler::{BadReference, Handler, OciReference};
pub use library::{COMMON as COMMON_PROPERTIES, Library, RefusedProperty};
pub use manual::{Key, keys, reference, schema};
pub use properties::Properties;
pub use wasmill_core::{
    Assignor, BreakerPolicy, Budget, CommitMode, Order, OutOfRange, Position, RetryPolicy, Share, SpanBound, Start,
};

/// Bytes that a configuration may have.
const MAX_BYTES: u64 = 16 << 20;

/// Reads and checks the file at `path`. Properties of clients are passed on as they are; [`load_with`] tries them.
///
/// # Errors
/// [`LoadError::Read`] if the file cannot be read, [`LoadError::Mistakes`] with every mistake in it otherwise.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let (name, text) = read(path)?;
    Ok(parse(&name, &text)?)
}

/// [`load`], with every property of a client tried on the library that clients are made with.
///
/// # Errors
/// As of [`load`].
pub fn load_with(path: &Path, library: &dyn Library) -> Result<Loaded, LoadError> {
    let (name, text) = read(path)?;
    Ok(check::check(&name, &text, &check::With { lookup: &environment, library: Some(library) })?)
}

/// The cluster of the file at `path`, which needs `[kafka]` and nothing else: for tools that run no pipeline.
///
/// # Errors
/// As of [`load`], of `[kafka]` alone.
pub fn load_cluster(path: &Path, library: &dyn Library) -> Result<Kafka, LoadError> {
    let (name, text) = read(path)?;
    Ok(check::cluster(&name, &text, &check::With { lookup: &environment, library: Some(library) })?)
}

/// The admin port of the file at `path`, and the folder in which the process keeps something. The rest of the file may be
/// wrong: a process that runs can be asked while its next configuration is being written.
///
/// # Errors
/// As of [`load`], of `[admin]` and `state` alone.
pub fn load_admin(path: &Path) -> Result<(Option<Admin>, PathBuf), LoadError> {
    let (name, text) = read(path)?;
    Ok(check::admin(&name, &text, &environment)?)
}

/// The file's name in findings, and its text.
fn read(path: &Path) -> Result<(String, String), LoadError> {
    let text = file::read_text(path, MAX_BYTES).map_err(|source| LoadError::Read { path: path.into(), source })?;
    Ok((path.display().to_string(), text))
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// Checks `text`; `name` is the file's name in findings, and its folder is what relative paths start from. `${NAME}` is
/// taken from the environment.
///
/// # Errors
/// Every mistake in the text.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Mistakes> {
    parse_with(name, text, &environment)
}

/// [`parse`] with `${NAME}` taken from `lookup`.
///
/// # Errors
/// Every mistake in the text.
pub fn parse_with(name: &str, text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Mistakes> {
    check::check(name, text, &check::With { lookup, library: None })
}
