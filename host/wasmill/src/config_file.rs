//! The configuration that a command names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wasmill_config as config;
use wasmill_core::Clients;
use wasmill_deploy::explain;
use wasmill_kafka::properties::{self, PropertyRefusal};

use crate::failure::Failure;

/// The library that this program makes its clients with.
pub struct Librdkafka;

impl config::Library for Librdkafka {
    fn refusals(&self, clients: Clients, properties: &BTreeMap<String, String>) -> Vec<config::RefusedProperty> {
        let refused = properties::refusals(clients, properties).into_iter();
        let told = |one| match one {
            PropertyRefusal::Unknown { name } => config::RefusedProperty::Unknown { name },
            PropertyRefusal::Value { name, reason } => config::RefusedProperty::Value { name, reason },
            PropertyRefusal::Together { reason } => config::RefusedProperty::Together { reason },
        };
        refused.map(told).collect()
    }
}

/// Reads and checks the whole file.
pub fn read(path: &Path) -> Result<config::Loaded, config::LoadError> {
    config::load_with(&file(path), &Librdkafka)
}

/// Loads a configuration; all its mistakes are one failure.
pub fn load(path: &Path) -> Result<config::Loaded, Failure> {
    read(path).map_err(unreadable)
}

/// The cluster that a file names. The file needs nothing else.
pub fn load_cluster(path: &Path) -> Result<config::Kafka, Failure> {
    config::load_cluster(&file(path), &Librdkafka).map_err(unreadable)
}

/// A folder stands for the `wasmill.toml` in it.
pub fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("wasmill.toml") } else { path.to_owned() }
}

/// A configuration that is not there is the first thing that somebody new meets.
pub fn unreadable(error: config::LoadError) -> Failure {
    let missing = |source: &std::io::Error| source.kind() == std::io::ErrorKind::NotFound;
    let is_missing = matches!(&error, config::LoadError::Read { source, .. } if missing(source));
    let error = anyhow::Error::from(error);
    if !is_missing {
        return Failure::usage(error);
    }
    let hint = "name the file or its folder; `wasmill reference` has every key, and examples/ has whole files";
    Failure::usage(anyhow::anyhow!("{}; hint: {hint}", explain(&error)))
}
