//! Two JSON values, by their paths.

use serde_json::Value;

use super::align::{Pair, align};
use super::difference::Differences;
use super::text::cut;

/// A JSON value and the bytes that say it.
pub struct Parsed<'a> {
    pub value: Value,
    pub bytes: &'a [u8],
}

impl PartialEq for Parsed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Both as JSON, if both are and one of them has paths.
pub fn both<'a>(old: &'a [u8], new: &'a [u8]) -> Option<(Parsed<'a>, Parsed<'a>)> {
    // Most that is no JSON is told by its first letter, and is not read to its end.
    let may_have_paths = |bytes: &[u8]| matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    if !may_have_paths(old) && !may_have_paths(new) {
        return None;
    }
    let parsed = |bytes: &'a [u8]| Some(Parsed { value: serde_json::from_slice(bytes).ok()?, bytes });
    Some((parsed(old)?, parsed(new)?))
}

/// Adds where they differ; `path` is that of both.
pub fn compare(path: &str, old: &Value, new: &Value, found: &mut Differences) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(old), Value::Object(new)) => {
            for (name, old) in old {
                match new.get(name) {
                    Some(new) if old == new => {}
                    Some(new) => compare(&below(path, name), old, new, found),
                    None => found.add(|| below(path, name), Some(text(old)), None),
                }
            }
            for (name, new) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                found.add(|| below(path, name), None, Some(text(new)));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            if old.len() != new.len() {
                found.add(|| format!("{path} (length)"), Some(old.len().to_string()), Some(new.len().to_string()));
            }
            for pair in align(old, new) {
                match pair {
                    Pair::Both(_, old, new) if old == new => {}
                    Pair::Both(at, old, new) => compare(&format!("{path}[{at}]"), old, new, found),
                    Pair::Old(at, old) => found.add(|| format!("{path}[{at}]"), Some(text(old)), None),
                    Pair::New(at, new) => found.add(|| format!("{path}[{at}]"), None, Some(text(new))),
                }
            }
        }
        _ => {
            let (old, new) = (old.to_string(), new.to_string());
            let parting = old.bytes().zip(new.bytes()).take_while(|(old, new)| old == new).count();
            found.add(|| path.to_owned(), Some(cut(&old, parting)), Some(cut(&new, parting)));
        }
    }
}

fn text(value: &Value) -> String {
    cut(&value.to_string(), 0)
}

/// A name that would be read as something else stands in brackets.
fn below(path: &str, name: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    if !name.is_empty() && name.chars().all(plain) {
        format!("{path}.{}", cut(name, 0))
    } else {
        format!("{path}[{}]", cut(&Value::from(name).to_string(), 0))
    }
}
