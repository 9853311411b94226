//! From the text of a file to the checked configuration, or to every mistake in it.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::checked::{Admin, Kafka, Loaded};
use crate::convert::{convert, convert_admin, convert_kafka, state};
use crate::describe::Presence;
use crate::environment::{Lookup, Substitution};
use crate::finding::{Mistakes, Severity};
use crate::library::{Library, try_all, try_cluster};
use crate::manual::tables_with;
use crate::raw::{RawAdmin, RawConfig, RawKafka};
use crate::report::{Place, Report};
use crate::rules;
use crate::source::Source;
use crate::table::{Sub, read_key, read_table};
use crate::text::FILE;

/// What a file is checked with.
pub(crate) struct With<'a> {
    pub lookup: Lookup<'a>,
    /// What properties are tried on; `None`: they are not.
    pub library: Option<&'a dyn Library>,
}

/// The text as a table, `${NAME}` replaced. `within`: only mistakes in this table count, since nothing else is read.
fn open<'a>(
    name: &'a str,
    text: &'a str,
    lookup: Lookup<'_>,
    within: Option<&str>,
) -> (toml::Spanned<DeTable<'a>>, Report<'a>) {
    let (mut document, syntax) = DeTable::parse_recoverable(text);
    let substitution = Substitution::apply(document.get_mut(), lookup);
    let mut source = Source::new(name, text);
    source.secrets = substitution.secrets;
    source.replaced = substitution.replaced;
    let mut report = Report::new(source, tables_with);
    for error in &syntax {
        report.syntax(error.span().unwrap_or_default(), error.message());
    }
    for (place, message, hint) in substitution.mistakes {
        if within.is_some_and(|table| place.key.split('.').next() != Some(table)) {
            continue;
        }
        report.settle(&place.span);
        report.error(&place, message, hint);
    }
    (document, report)
}

fn directory(name: &str) -> PathBuf {
    Path::new(name).parent().map(PathBuf::from).unwrap_or_default()
}

/// Reads the cluster of a file. What else is in the file is not looked at: a tool can do without.
pub(crate) fn cluster(name: &str, text: &str, with: &With<'_>) -> Result<Kafka, Mistakes> {
    let (document, mut report) = open(name, text, with.lookup, Some("kafka"));
    let field = read_key(document.get_ref(), "kafka", &Sub::<RawKafka>::new(), &Presence::Required, &mut report);
    if let (false, Some(library), Some(raw)) = (report.has_errors(), with.library, &field.value) {
        try_cluster(raw, library, &mut report);
    }
    let convert = |raw| convert_kafka(raw, &directory(name));
    let kafka = if report.has_errors() { None } else { field.value.as_ref().and_then(convert) };
    kafka.ok_or_else(|| Mistakes(report.into_findings()))
}

/// Reads the admin port of a file, if it has one, and the folder of what a process keeps. Nothing else is looked at.
pub(crate) fn admin(name: &str, text: &str, lookup: Lookup<'_>) -> Result<(Option<Admin>, PathBuf), Mistakes> {
    let (document, mut report) = open(name, text, lookup, Some("admin"));
    let presence = Presence::Optional { means: "no admin port" };
    let field = read_key(document.get_ref(), "admin", &Sub::<RawAdmin>::new(), &presence, &mut report);
    let kept = read_key(document.get_ref(), "state", &FILE, &presence, &mut report);
    if report.has_errors() {
        return Err(Mistakes(report.into_findings()));
    }
    let directory = directory(name);
    Ok((field.value.as_ref().and_then(|raw| convert_admin(raw, &directory)), state(&kept, &directory)))
}

/// Reads, checks and converts a file in one pass; every mistake is found.
pub(crate) fn check(name: &str, text: &str, with: &With<'_>) -> Result<Loaded, Mistakes> {
    let (document, mut report) = open(name, text, with.lookup, None);
    let raw: RawConfig = read_table(document.get_ref(), &Place::default(), &mut report);
    if !report.partial {
        rules::apply(&raw, &mut report);
        if let Some(library) = with.library {
            try_all(&raw, library, &mut report);
        }
    }
    let directory = directory(name);
    let config = if report.has_errors() { None } else { convert(&raw, directory) };
    match config {
        Some(config) => {
            let warnings = report.into_findings();
            debug_assert!(warnings.iter().all(|finding| finding.severity == Severity::Warning));
            Ok(Loaded { config, warnings })
        }
        None => {
            // A value that is absent without a finding would be a mistake of ours; it must not look like success.
            if !report.has_errors() {
                report.error(&Place::default(), "a value is missing", "report this file to wasmill's authors");
            }
            Err(Mistakes(report.into_findings()))
        }
    }
}
