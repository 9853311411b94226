//! `${NAME}` in strings: secrets come from the environment, not from the file.

use std::cell::RefCell;

use toml::de::{DeTable, DeValue};

use crate::properties::is_secret;
use crate::report::Place;
use crate::source::Span;

/// Where the value of a name comes from; `None`: not set.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One walk over a file.
pub(crate) struct Substitution<'a> {
    lookup: Lookup<'a>,
    /// Values that must not be shown. All are known before the first finding is made.
    pub secrets: Vec<Span>,
    /// Names that were replaced, and what they stand for.
    pub replaced: Vec<(String, String)>,
    /// Values that could not be replaced: place, message, hint.
    pub mistakes: Vec<(Place, String, String)>,
}

impl<'a> Substitution<'a> {
    /// Replaces `${NAME}` in every string below `table`, and notes which values are secrets.
    pub(crate) fn apply(table: &mut DeTable<'_>, lookup: Lookup<'a>) -> Self {
        let mut this = Self { lookup, secrets: Vec::new(), replaced: Vec::new(), mistakes: Vec::new() };
        this.table(table, "", None);
        this
    }

    /// `foreign`: the key below `properties` or `config`, the only tables whose keys are not ours; what is secret
    /// there is told from the key.
    fn table(&mut self, table: &mut DeTable<'_>, path: &str, foreign: Option<&str>) {
        for (key, value) in table.iter_mut() {
            let name = key.get_ref();
            let path = join(path, name);
            let foreign = match foreign {
                Some(outer) => Some(join(outer, name)),
                None => matches!(name.as_ref(), "properties" | "config").then(String::new),
            };
            let span = value.span();
            self.value(value.get_mut(), span, &path, foreign.as_deref());
        }
    }

    fn value(&mut self, value: &mut DeValue<'_>, span: Span, path: &str, foreign: Option<&str>) {
        match value {
            DeValue::Table(table) => self.table(table, path, foreign),
            DeValue::Array(items) => {
                for item in items.iter_mut() {
                    let span = item.span();
                    self.value(item.get_mut(), span, path, foreign);
                }
            }
            DeValue::String(text) => {
                if foreign.is_some_and(is_secret) {
                    self.secrets.push(span.clone());
                }
                let replaced = RefCell::new(Vec::new());
                let noting = |name: &str| {
                    let value = (self.lookup)(name)?;
                    replaced.borrow_mut().push((name.to_owned(), value.clone()));
                    Some(value)
                };
                let expanded = expand(text, &noting);
                self.replaced.append(&mut replaced.into_inner());
                match expanded {
                    Ok(Some(expanded)) => *text = expanded.into(),
                    Ok(None) => {}
                    Err((message, hint)) => {
                        self.mistakes.push((Place { span, key: path.to_owned() }, message, hint));
                    }
                }
            }
            _ => {}
        }
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `Ok(None)`: nothing to replace. The error is a message and a hint.
fn expand(text: &str, lookup: Lookup<'_>) -> Result<Option<String>, (String, String)> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = (&rest[..at], &rest[at + 2..]);
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = reference;
            continue;
        }
        expanded.push_str(before);
        let name = reference.split_once('}').map(|(name, _)| name).filter(|name| is_name(name)).ok_or_else(|| {
            let hint = "write `${NAME}` with letters, digits and `_`, or `$${` for these characters themselves";
            ("`${` does not begin the name of an environment variable".to_owned(), hint.to_owned())
        })?;
        let value = lookup(name).ok_or_else(|| {
            (format!("the environment variable `{name}` is not set"), format!("set `{name}`, or write the value here"))
        })?;
        expanded.push_str(&value);
        rest = &reference[name.len() + 1..];
    }
    expanded.push_str(rest);
    Ok(Some(expanded))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("kafka".to_owned()),
            "TRICKY" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn replaces_names_once_and_only_once() {
        let done = |text| expand(text, &lookup).unwrap();
        assert_eq!(done("plain $HOST"), None);
        assert_eq!(done("a-${HOST}:9092,${HOST}").as_deref(), Some("a-kafka:9092,kafka"));
        assert_eq!(done("${TRICKY}").as_deref(), Some("${HOST}"));
        assert_eq!(done("$${HOST} ${HOST}").as_deref(), Some("${HOST} kafka"));
    }

    #[test]
    fn names_the_variable_that_is_not_set() {
        assert!(expand("x${ABSENT}", &lookup).unwrap_err().0.contains("`ABSENT`"));
        for text in ["${", "${}", "${A-B}", "${ HOST }", "${1}"] {
            assert!(expand(text, &lookup).unwrap_err().0.contains("does not begin the name"), "{text}");
        }
    }
}
