//! What the declared tables say of themselves: the list of keys, the JSON schema, the Markdown reference.

use serde_json::Value;

use crate::describe::{Entry, Inner, Presence, joined, table_schema};
use crate::environment::join;
use crate::raw::RawConfig;
use crate::table::Table;

/// One key of the file.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Key {
    /// With its tables: `pipelines.NAME.batch.messages`.
    pub path: String,
    /// What it is.
    pub doc: String,
    /// The type, in words: `a duration in quotes`.
    pub kind: String,
    /// The bounds, in words; empty if every value of the type will do.
    pub bounds: String,
    /// Whether it must be written.
    pub required: bool,
    /// The default as TOML, or what absence means.
    pub absent: String,
    /// Why the default is what it is.
    pub why: String,
    /// A good value, as TOML.
    pub example: String,
    /// Whether its value is a table with keys of its own.
    pub table: bool,
    /// Values of a wrong type, as TOML.
    pub wrong: Vec<&'static str>,
    /// Values of the right type that are refused, as TOML, with the byte of the text that the finding points to.
    pub refused: Vec<(String, usize)>,
}

/// Every key of the file, tables before what is in them.
#[must_use]
pub fn keys() -> Vec<Key> {
    let mut found = Vec::new();
    collect(&RawConfig::entries(), "", &mut found);
    found
}

fn collect(entries: &[Entry], path: &str, found: &mut Vec<Key>) {
    for entry in entries {
        let path = join(path, entry.name);
        let (absent, why) = match &entry.presence {
            Presence::Required => ("", ""),
            Presence::Section => ("the defaults of its keys", ""),
            Presence::Default { text, why } => (*text, *why),
            Presence::Optional { means } => (*means, ""),
        };
        found.push(Key {
            path: path.clone(),
            doc: entry.doc.clone(),
            kind: entry.facts.noun.clone(),
            bounds: entry.facts.bounds.clone(),
            required: matches!(entry.presence, Presence::Required),
            absent: absent.to_owned(),
            why: why.to_owned(),
            example: entry.facts.example.clone(),
            table: !matches!(entry.facts.inner, Inner::None),
            wrong: entry.wrong.clone(),
            refused: entry.facts.refused.clone(),
        });
        match &entry.facts.inner {
            Inner::None => {}
            Inner::Table(_, inner) => collect(inner, &path, found),
            Inner::Named(_, inner) => collect(inner, &format!("{path}.NAME"), found),
        }
    }
}

/// The tables that have this key, as seen from the table at `from`: its pipeline's name is filled in.
pub(crate) fn tables_with(name: &str, from: &str) -> Vec<String> {
    let pipeline = from.split('.').nth(1).filter(|_| from.starts_with("pipelines."));
    let tables = keys().into_iter().filter_map(|key| {
        let (table, last) = key.path.rsplit_once('.')?;
        (last == name).then(|| table.replace("NAME", pipeline.unwrap_or("NAME")))
    });
    tables.collect()
}

/// The JSON schema of the file, for editors.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table_schema(RawConfig::ABOUT, &RawConfig::entries());
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "wasmill.toml".into();
    schema
}

/// Every key with type, default, bounds and meaning, as Markdown: one heading and one table for each table of the file.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    reference_of("", RawConfig::ABOUT, &RawConfig::entries(), &mut text);
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn reference_of(path: &str, about: &str, entries: &[Entry], text: &mut String) {
    let heading = if path.is_empty() { "Top of the file".to_owned() } else { format!("`[{path}]`") };
    *text += &format!("## {heading}\n\n{}\n\n", joined(about));
    *text += "| key | type | if absent | bounds | meaning |\n|---|---|---|---|---|\n";
    for entry in entries {
        let absent = match &entry.presence {
            Presence::Required => "must be written".to_owned(),
            Presence::Section => "its defaults".to_owned(),
            Presence::Default { text, why } => format!("`{text}`: {why}"),
            Presence::Optional { means } => (*means).to_owned(),
        };
        let cells = [&format!("`{}`", entry.name), &entry.facts.noun, &absent, &entry.facts.bounds, &entry.doc];
        *text += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    *text += "\n";
    for entry in entries {
        let path = join(path, entry.name);
        match &entry.facts.inner {
            Inner::None => {}
            Inner::Table(about, inner) => reference_of(&path, about, inner, text),
            Inner::Named(about, inner) => reference_of(&format!("{path}.NAME"), about, inner, text),
        }
    }
}
