//! From the text of a file to the checked configuration, or to every mistake in it.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::checked::Loaded;
use crate::convert::convert;
use crate::environment::{Lookup, Substitution};
use crate::finding::{Mistakes, Severity};
use crate::manual::tables_with;
use crate::raw::RawConfig;
use crate::report::{Place, Report};
use crate::rules;
use crate::source::Source;
use crate::table::read_table;

/// Reads, checks and converts a file in one pass; every mistake is found.
pub(crate) fn check(name: &str, text: &str, lookup: Lookup<'_>) -> Result<Loaded, Mistakes> {
    let (mut document, syntax) = DeTable::parse_recoverable(text);
    let substitution = Substitution::apply(document.get_mut(), lookup);
    let mut source = Source::new(name, text);
    source.secrets = substitution.secrets;
    let mut report = Report::new(source, tables_with);
    for error in &syntax {
        report.syntax(error.span().unwrap_or_default(), error.message());
    }
    for (place, message, hint) in substitution.mistakes {
        report.settle(&place.span);
        report.error(&place, message, hint);
    }
    let raw: RawConfig = read_table(document.get_ref(), &Place::default(), &mut report);
    if !report.partial {
        rules::apply(&raw, &mut report);
    }
    let directory = Path::new(name).parent().map(PathBuf::from).unwrap_or_default();
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
