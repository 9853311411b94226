//! What a kind of value and a key say of themselves: findings, the schema and the manual show it. Below both the kinds,
//! which read values, and the manual.

use serde_json::{Map, Value, json};
use toml::de::DeValue;

/// What a kind of value says of itself.
pub(crate) trait Describe {
    fn facts(&self) -> Facts;

    /// Whether this TOML type will do at all.
    fn takes(&self, value: &DeValue<'_>) -> bool;
}

/// What a kind says of itself.
pub(crate) struct Facts {
    /// "must be …" in a finding, and the type in the manual: `a duration`.
    pub noun: String,
    /// `1 to 64`; empty if every value of the type will do.
    pub bounds: String,
    /// The JSON schema of a value.
    pub json: Value,
    /// A good value, as TOML.
    pub example: String,
    /// Values of the right type that must be refused, as TOML, with the byte in them where the finding points.
    pub refused: Vec<(String, usize)>,
    pub inner: Inner,
}

/// The tables below a key.
pub(crate) enum Inner {
    None,
    /// The key is a table: what it is, its keys.
    Table(&'static str, Vec<Entry>),
    /// The key is a table of tables with these keys, each under a name that the user chooses.
    Named(&'static str, Vec<Entry>),
}

impl Facts {
    pub(crate) fn new(
        noun: impl Into<String>,
        bounds: impl Into<String>,
        json: Value,
        example: impl Into<String>,
    ) -> Self {
        let (noun, bounds, example) = (noun.into(), bounds.into(), example.into());
        Self { noun, bounds, json, example, refused: Vec::new(), inner: Inner::None }
    }

    pub(crate) fn refusing(mut self, values: impl IntoIterator<Item = (String, usize)>) -> Self {
        self.refused.extend(values);
        self
    }
}

/// One key of a table.
pub(crate) struct Entry {
    pub name: &'static str,
    pub doc: String,
    pub facts: Facts,
    pub presence: Presence,
    /// Values of a type that will not do.
    pub wrong: Vec<&'static str>,
}

/// What it means that a key is absent.
pub(crate) enum Presence {
    Required,
    /// As if the table were there and empty.
    Section,
    Default {
        text: &'static str,
        why: &'static str,
    },
    Optional {
        means: &'static str,
    },
}

impl Presence {
    /// The default as TOML.
    pub(crate) fn default(&self) -> Option<&'static str> {
        if let Self::Default { text, .. } = self { Some(text) } else { None }
    }
}

/// One value of each TOML type.
const TYPES: [&str; 7] = ["\"some text\"", "7", "1.5", "true", "2026-01-31T00:00:00Z", "[[]]", "{ some_key = 1 }"];

impl Entry {
    pub(crate) fn new(name: &'static str, doc: &str, kind: &impl Describe, presence: Presence) -> Self {
        let takes = |text: &&str| DeValue::parse(text).is_ok_and(|value| kind.takes(value.get_ref()));
        let wrong = TYPES.into_iter().filter(|text| !takes(text)).collect();
        let mut facts = kind.facts();
        if let Presence::Default { text, .. } = &presence {
            (*text).clone_into(&mut facts.example);
        }
        Self { name, doc: joined(doc), facts, presence, wrong }
    }

    fn schema(&self) -> Value {
        let mut json = self.facts.json.clone();
        json["description"] = self.doc.clone().into();
        if let Presence::Default { text, .. } = &self.presence {
            json["default"] = serde_json::from_str(text).unwrap_or_else(|_| (*text).into());
        }
        json
    }
}

/// A doc comment as one paragraph.
pub(crate) fn joined(doc: &str) -> String {
    doc.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The JSON schema of a table.
pub(crate) fn table_schema(about: &str, entries: &[Entry]) -> Value {
    let properties: Map<_, _> = entries.iter().map(|entry| (entry.name.to_owned(), entry.schema())).collect();
    let required: Vec<_> =
        entries.iter().filter(|e| matches!(e.presence, Presence::Required)).map(|e| e.name).collect();
    json!({
        "type": "object",
        "description": joined(about),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}
