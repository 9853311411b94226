//! What commands print.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::printed::{all_written, wrote};

/// Prints what was asked for.
pub fn print(text: &str) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    wrote(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    Ok(Exit::Done)
}

/// Prints JSON, its fields in the order of their names, or text.
pub fn answer(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<Exit, Failure> {
    if !json {
        return print(&text());
    }
    let value = serde_json::to_value(value).context("the answer as JSON")?;
    print(&format!("{value:#}\n"))
}

/// Tells a failure on standard error, in the form of a compiler's.
pub fn print_failure(failure: &Failure) {
    let red = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    // A closed standard error is no reason to panic.
    let _ = writeln!(anstream::stderr(), "{red}error{red:#}: {failure}");
}

/// Tells what clap has to say: a help text that was asked for, or what is wrong with the command line.
pub fn print_usage(told: &clap::Error) -> ExitCode {
    let printed = told.print();
    if !told.use_stderr() {
        wrote(printed);
        if let Err(failure) = all_written() {
            print_failure(&failure);
            return failure.exit.into();
        }
    }
    u8::try_from(told.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// A table for people.
pub fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table.add_rows(rows);
    format!("{table}\n")
}

/// What may not be known.
pub fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// What the admin port sent, and what this version reads of it: `--json` prints all of it, also what a later version says
/// beside.
#[derive(Debug)]
pub struct Sent<T> {
    whole: Value,
    /// What is read.
    pub read: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(sent: D) -> Result<Self, D::Error> {
        let whole = Value::deserialize(sent)?;
        let read = T::deserialize(&whole).map_err(D::Error::custom)?;
        Ok(Self { whole, read })
    }
}

impl<T> Serialize for Sent<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.whole.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::restart::Left;

    #[test]
    fn what_a_later_version_says_beside_is_printed_and_not_read() {
        let text = r#"{"committed":7,"of a later version":{"a":1},"partition":"in/0"}"#;
        let sent: Sent<Left> = serde_json::from_str(text).expect("a row");
        assert_eq!(sent.read, Left { partition: "in/0".to_owned(), committed: Some(7) });
        assert_eq!(serde_json::to_string(&sent).expect("plain data"), text);
    }

    #[test]
    fn an_answer_that_is_not_understood_is_said_to_be_so() {
        let error = serde_json::from_str::<Sent<Left>>(r#"{"committed":7}"#).expect_err("no partition");
        assert!(error.to_string().contains("missing field `partition`"), "{error}");
    }
}
