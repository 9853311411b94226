//! A kind of value: what TOML it takes, its bounds, and how it is read.

use std::time::Duration;

use serde_json::json;
use toml::de::DeValue;
use wasmill_core::Share;

use crate::describe::{Describe, Facts};
use crate::refusal::Refusal;
use crate::report::{Place, Report};
use crate::units;

/// A value of the file, at its key.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub value: &'a DeValue<'a>,
    /// The value's span under the key's name.
    pub at: &'a Place,
    /// The default as TOML, to show as an example.
    pub default: Option<&'static str>,
}

/// A kind of value.
pub(crate) trait Kind: Describe {
    type Value;

    /// Reads a value that the kind takes. `None`: a finding says why.
    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Self::Value>;

    /// What to write instead of a value of the wrong type; by default an example.
    fn instead(&self, _node: Node<'_>) -> Option<String> {
        None
    }
}

/// Reads a value of whatever type.
pub(crate) fn read<K: Kind>(kind: &K, node: Node<'_>, report: &mut Report<'_>) -> Option<K::Value> {
    if report.is_settled(&node.at.span) {
        return None;
    }
    if kind.takes(node.value) {
        return kind.read(node, report);
    }
    let facts = kind.facts();
    let message = format!("`{}` must be {}, not {}", node.at.name(), facts.noun, type_name(node.value));
    let example = || format!("write `{} = {}`", node.at.name(), node.default.unwrap_or(&facts.example));
    report.error(node.at, message, kind.instead(node).unwrap_or_else(example));
    None
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn integer(value: &DeValue<'_>) -> Option<i128> {
    let number = value.as_integer()?;
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The value, if it is from the first bound to the second; `None` is a number too large for its type.
fn bounded<T: PartialOrd>(
    node: Node<'_>,
    value: Option<T>,
    [(min, shown_min), (max, shown_max)]: [(T, String); 2],
    report: &mut Report<'_>,
) -> Option<T> {
    let below = value.as_ref().is_some_and(|value| *value < min);
    if let Some(value) = value.filter(|value| !below && *value <= max) {
        return Some(value);
    }
    let (name, typed) = (node.at.name(), report.source.typed(&node.at.span));
    let hint = if below { format!("write `{shown_min}` or more") } else { format!("write `{shown_max}` or less") };
    report.error(node.at, format!("`{name}` must be {shown_min} to {shown_max}, not {typed}"), hint);
    None
}

/// `true` or `false`.
pub(crate) struct Flag;

impl Describe for Flag {
    fn facts(&self) -> Facts {
        Facts::new("a boolean", "", json!({ "type": "boolean" }), "true")
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_bool()
    }
}

impl Kind for Flag {
    type Value = bool;

    fn read(&self, node: Node<'_>, _: &mut Report<'_>) -> Option<bool> {
        node.value.as_bool()
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        let text = node.value.as_str().filter(|text| matches!(*text, "true" | "false"))?;
        Some(format!("write `{text}` without quotes"))
    }
}

/// Only `false`: switches off what is a table otherwise.
pub(crate) struct Off;

impl Describe for Off {
    fn facts(&self) -> Facts {
        Facts::new("false", "", json!({ "const": false }), "false").refusing([("true".to_owned(), 0)])
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_bool()
    }
}

impl Kind for Off {
    type Value = ();

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<()> {
        let name = node.at.name();
        if node.value.as_bool() == Some(true) {
            report.error(node.at, format!("`{name}` is a table or `false`"), format!("leave `{name}` out: it is on"));
            return None;
        }
        Some(())
    }
}

/// A whole number from the first to the second.
pub(crate) struct Count(pub u64, pub u64);

impl Describe for Count {
    fn facts(&self) -> Facts {
        let Self(min, max) = self;
        let json = json!({ "type": "integer", "minimum": min, "maximum": max });
        Facts::new("a whole number", format!("{min} to {max}"), json, min.to_string())
            .refusing([i128::from(*min) - 1, i128::from(*max) + 1].map(|value| (value.to_string(), 0)))
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_integer()
    }
}

impl Kind for Count {
    type Value = u64;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<u64> {
        let bounds = [self.0, self.1].map(|bound| (i128::from(bound), bound.to_string()));
        bounded(node, integer(node.value), bounds, report).and_then(|value| u64::try_from(value).ok())
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        let number: u64 = node.value.as_str()?.parse().ok()?;
        Some(format!("write `{number}` without quotes"))
    }
}

/// A duration from the first to the second, in milliseconds.
pub(crate) struct Time(pub u64, pub u64);

impl Describe for Time {
    fn facts(&self) -> Facts {
        let [min, max] = [self.0, self.1].map(|ms| units::show_duration(Duration::from_millis(ms)));
        let json = json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" });
        let example = if (self.0..=self.1).contains(&1000) { "1s" } else { max.as_str() };
        let below = self.0.checked_sub(1).map(|ms| format!("\"{ms}ms\""));
        let refused = [format!("\"{}ms\"", self.1 + 1), "\"5\"".to_owned(), "\"5 parsecs\"".to_owned()];
        Facts::new("a duration in quotes", format!("\"{min}\" to \"{max}\""), json, format!("\"{example}\""))
            .refusing(below.into_iter().chain(refused).map(|text| (text, 0)))
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_str()
    }
}

impl Kind for Time {
    type Value = Duration;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Duration> {
        match units::duration(node.value.as_str()?) {
            Ok(value) => {
                let bounds = [self.0, self.1].map(|ms| {
                    let bound = Duration::from_millis(ms);
                    (bound, format!("\"{}\"", units::show_duration(bound)))
                });
                bounded(node, Some(value), bounds, report)
            }
            Err(instead) => {
                let typed = report.source.typed(&node.at.span);
                report.error(node.at, format!("`{}`: {typed} is not a duration", node.at.name()), instead);
                None
            }
        }
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        integer(node.value).map(|number| format!("write the unit, in quotes: `\"{number}s\"` or `\"{number}ms\"`"))
    }
}

/// A percentage in quotes, from the first to `100%`.
pub(crate) struct Percent(pub Share);

impl Describe for Percent {
    fn facts(&self) -> Facts {
        let json = json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,4})?%$" });
        let mut refused = vec!["\"5\"".to_owned(), "\"101%\"".to_owned(), "\"some\"".to_owned()];
        if self.0 > Share::NONE {
            refused.push("\"0%\"".to_owned());
        }
        Facts::new("a percentage in quotes", format!("\"{}\" to \"100%\"", self.0), json, "\"5%\"")
            .refusing(refused.into_iter().map(|text| (text, 0)))
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_str()
    }
}

impl Kind for Percent {
    type Value = Share;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Share> {
        match units::percent(node.value.as_str()?) {
            Ok(value) => {
                let bounds = [self.0, Share::ALL].map(|bound| (bound, format!("\"{bound}\"")));
                bounded(node, Some(value), bounds, report)
            }
            Err(instead) => {
                let typed = report.source.typed(&node.at.span);
                report.error(node.at, format!("`{}`: {typed} is no percentage", node.at.name()), instead);
                None
            }
        }
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        integer(node.value).map(|number| format!("write it with its sign, in quotes: `\"{number}%\"`"))
    }
}

/// A size in bytes, from the first to the second: a number, or a string with a unit.
pub(crate) struct Size(pub u64, pub u64);

impl Describe for Size {
    fn facts(&self) -> Facts {
        let Self(min, max) = self;
        let (shown_min, shown_max) = (units::show_size(*min), units::show_size(*max));
        let json = json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+([KMGT]iB|B)$" },
            { "type": "integer", "minimum": min, "maximum": max },
        ] });
        let below = i128::from(*min) - 1;
        let refused = [below.to_string(), (max + 1).to_string(), format!("\"{}B\"", max + 1)];
        Facts::new("a size", format!("\"{shown_min}\" to \"{shown_max}\""), json, format!("\"{shown_max}\""))
            .refusing(refused.into_iter().chain(["\"64 parsecs\"".to_owned()]).map(|text| (text, 0)))
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_str() || value.is_integer()
    }
}

impl Kind for Size {
    type Value = u64;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<u64> {
        let value = match node.value.as_str().map(units::size) {
            None => integer(node.value),
            Some(Ok(value)) => Some(i128::from(value)),
            Some(Err(instead)) => {
                let typed = report.source.typed(&node.at.span);
                report.error(node.at, format!("`{}`: {typed} is not a size", node.at.name()), instead);
                return None;
            }
        };
        let bounds = [self.0, self.1].map(|bound| (i128::from(bound), format!("\"{}\"", units::show_size(bound))));
        bounded(node, value, bounds, report).and_then(|value| u64::try_from(value).ok())
    }
}

/// One of a few words. `later`: words that will come, with what to say until then.
pub(crate) struct Choice<T: 'static> {
    pub words: &'static [(&'static str, T)],
    pub later: &'static [(&'static str, &'static str)],
}

impl<T: Copy> Choice<T> {
    /// The words, for a hint.
    pub(crate) fn list(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        words.join(", ")
    }
}

impl<T: Copy> Describe for Choice<T> {
    fn facts(&self) -> Facts {
        let words: Vec<_> = self.words.iter().map(|(word, _)| *word).collect();
        let example = words.first().map(|word| format!("\"{word}\"")).unwrap_or_default();
        let later = self.later.iter().map(|(word, _)| format!("\"{word}\""));
        let refused: Vec<_> = later.chain(["\"no-such-word\"".to_owned()]).map(|text| (text, 0)).collect();
        Facts::new("a string", self.list(), json!({ "enum": words }), example).refusing(refused)
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_str()
    }
}

impl<T: Copy> Kind for Choice<T> {
    type Value = T;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<T> {
        let typed = node.value.as_str()?;
        if let Some((_, value)) = self.words.iter().find(|(word, _)| *word == typed) {
            return Some(*value);
        }
        let (name, list) = (node.at.name(), self.list());
        if let Some((word, why)) = self.later.iter().find(|(word, _)| *word == typed) {
            report.error(
                node.at,
                format!("`{name} = \"{word}\"` is not available yet: {why}"),
                format!("write {list}"),
            );
            return None;
        }
        let near = nearest(typed, self.words.iter().map(|(word, _)| *word));
        let hint = near.map_or_else(|| format!("write one of {list}"), |word| format!("did you mean \"{word}\"?"));
        let shown = report.source.typed(&node.at.span);
        report.error(node.at, format!("`{name}` must be one of {list}, not {shown}"), hint);
        None
    }
}

/// Text with a rule.
pub(crate) struct Text<T> {
    /// `a topic name`.
    pub noun: &'static str,
    /// The rule, for the manual.
    pub bounds: &'static str,
    pub example: &'static str,
    /// Texts that break the rule.
    pub refused: &'static [&'static str],
    /// The error says what is wrong ("has no port") and what to write instead.
    pub parse: fn(&str) -> Result<T, Refusal>,
}

impl<T> Describe for Text<T> {
    fn facts(&self) -> Facts {
        let quote = |text: &str| json!(text).to_string();
        Facts::new(format!("{} in quotes", self.noun), self.bounds, json!({ "type": "string" }), quote(self.example))
            .refusing(self.refused.iter().map(|text| (quote(text), 0)))
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_str()
    }
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<T> {
        match (self.parse)(node.value.as_str()?) {
            Ok(value) => Some(value),
            Err((problem, hint)) => {
                let typed = report.source.typed(&node.at.span);
                report.error(node.at, format!("`{}`: {typed} {problem}", node.at.name()), hint);
                None
            }
        }
    }
}

/// The word that was meant, if one is near enough.
pub(crate) fn nearest<'a>(typed: &str, words: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let mut longer = words.clone().filter(|word| typed.len() >= 3 && word.starts_with(&typed));
    words
        .map(|word| (strsim::damerau_levenshtein(&typed, word), word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
        .or_else(|| longer.next())
}
