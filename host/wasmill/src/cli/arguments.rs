//! Options that several commands read in the same way.

use anyhow::{Context as _, ensure};
use wasmill_core::{BadPosition, Form, Position};
use wasmill_kafka::now_ms;

/// `name=value` as given to `--header`.
pub fn header_argument(text: &str) -> anyhow::Result<(String, Option<Vec<u8>>)> {
    let (name, value) = pair("header", text)?;
    Ok((name, Some(value.into_bytes())))
}

/// `name=value` as given to `--config`.
pub fn setting_argument(text: &str) -> anyhow::Result<(String, String)> {
    pair("config", text)
}

/// A topic as given to an option.
pub fn topic_argument(text: &str) -> anyhow::Result<String> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    ensure!(
        !text.is_empty() && text.chars().all(fine),
        "`{text}` is no topic's name; hint: for several, give the option several times"
    );
    Ok(text.to_owned())
}

/// A position in a partition, in a form that says which message is meant and not how many.
pub fn certain_position(text: &str) -> Result<Position, BadPosition> {
    Position::parse_as(text, now_ms(), &Form::CERTAIN)
}

fn pair(option: &str, text: &str) -> anyhow::Result<(String, String)> {
    let no_pair = || format!("{option} `{text}` has no `=`; hint: write --{option} name=value");
    let (name, value) = text.split_once('=').with_context(no_pair)?;
    ensure!(!name.is_empty(), "{option} `{text}` has no name");
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_argument_has_a_name() {
        assert_eq!(header_argument("a=b=c").unwrap(), ("a".to_owned(), Some(b"b=c".to_vec())));
        assert!(header_argument("a").is_err() && header_argument("=b").is_err());
    }
}
