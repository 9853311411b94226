//! What the tests and benchmarks need of a machine, how it is installed, and where it is then.
//!
//! - **process**: other programs, and the folders of clone, build and cache.
//! - **kafka**, **registry**: the servers that handlers are tested with.
//! - **guests**: the handlers of `tests/guests` and `examples`.
//! - **languages**: `plugins/languages.toml`, and the tools of the languages that handlers are written in.
//! - **built**: what cargo builds for the tests.
//!
//! `cargo xtask` installs with it, and the tests look things up in it: what is fetched in one place is found in the other.

#![deny(unsafe_code)]

pub mod built;
pub mod guests;
pub mod kafka;
pub mod languages;
pub mod process;
pub mod registry;

use anyhow::{Result, bail};

use crate::kafka::Kafka;
use crate::process::exists;

/// Programs that no script of ours can install, what needs them and how they are usually packaged.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("cc", "librdkafka and OpenSSL are compiled from source", "build-essential, gcc or clang"),
    ("make", "librdkafka and OpenSSL are compiled from source", "make"),
    ("perl", "OpenSSL's configuration is a Perl program", "perl"),
    ("java", "the tests run a real Apache Kafka", "default-jdk-headless (17 or later)"),
    ("mvn", "it fetches Apache Kafka", "maven"),
];

/// Installs or builds whatever is missing: wasm targets, Apache Kafka, a registry, handlers. Doing it again costs seconds.
///
/// # Errors
/// A program is missing that cannot be installed from here (all of them are named), or a step fails.
pub fn install() -> Result<Kafka> {
    programs(&exists)?;
    guests::targets()?;
    let kafka = kafka::install()?;
    registry::install()?;
    guests::build()?;
    Ok(kafka)
}

fn programs(exists: &dyn Fn(&str) -> bool) -> Result<()> {
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, ..)| !exists(program))
        .map(|(program, why, package)| format!("`{program}` is missing: {why}; hint: install {package}"))
        .collect();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_program_is_named_at_once() {
        let text = programs(&|program| program == "cc" || program == "perl").unwrap_err().to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("`mvn` is missing: it fetches Apache Kafka; hint: install maven"), "{text}");
        assert!(programs(&|_| true).is_ok());
    }
}
