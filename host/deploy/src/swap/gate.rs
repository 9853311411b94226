//! The gate: everything that can be known of a new handler before anything is touched. Whatever refuses it, the old one
//! goes on and has not noticed.

use std::sync::Arc;

use serde::Serialize;
use wasmill_config as config;
use wasmill_kafka::ClientSettings;
use wasmill_pipeline::handler_spec;
use wasmill_pipeline::version::Version;
use wasmill_wasm::{LoadKind, Plugin, StartError};

use crate::explain;
use crate::handler::compiler::Unloadable;
use crate::handler::loader::Loader;
use crate::handler::size;
use crate::handler_tests::{self, Told, file};
use crate::replay::backtest;

/// What a handler is asked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Something else is going on.
    Busy,
    /// There is no version to go back to.
    Past,
    /// The pipeline's versions are the group's: one process alone changes none.
    Group,
    /// `limits.component`.
    Size,
    /// Whether it is WebAssembly, and whole.
    Format,
    /// The version of the contract, its exports and their types.
    Contract,
    /// What it imports: nothing but what handlers get, and what the pipeline grants.
    Imports,
    /// Compilation, within `limits.compile_memory` and `limits.compile_time`.
    Compile,
    /// What an instance takes, against `limits.memory`; an instance, and `init` with the pipeline's configuration, within
    /// `limits.init_time`.
    Init,
    /// The cases of `swap.tests`.
    Tests,
    /// Messages of the past, over which it is run beside the old one: `swap.backtest`.
    Backtest,
}

impl Gate {
    /// In a word, as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Past => "past",
            Self::Group => "group",
            Self::Size => "size",
            Self::Format => "format",
            Self::Contract => "contract",
            Self::Imports => "imports",
            Self::Compile => "compile",
            Self::Init => "init",
            Self::Tests => "tests",
            Self::Backtest => "backtest",
        }
    }
}

/// A handler is not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("refused at the gate `{}`: {reason}", gate.as_str())]
pub struct Refusal {
    /// The gate that refused.
    pub gate: Gate,
    /// Why, and what to do.
    pub reason: String,
}

impl Refusal {
    /// At this gate, for this reason.
    pub fn at(gate: Gate, reason: impl Into<String>) -> Self {
        Self { gate, reason: reason.into() }
    }
}

/// Lets a handler in, or says why not. Compiles it, starts an instance and drops it.
pub fn pass(
    loader: &Loader,
    bytes: &[u8],
    settings: &Arc<config::Pipeline>,
    source: String,
) -> Result<Version, Refusal> {
    size(bytes.len() as u64, settings)?;
    let plugin = loader.compile(bytes, &settings.limits).map_err(|error| unloadable(&error))?;
    admit(plugin, settings, source)
}

/// The gates behind compilation: for a plugin that is there already, under other settings.
pub fn admit(plugin: Plugin, settings: &Arc<config::Pipeline>, source: String) -> Result<Version, Refusal> {
    plugin
        .check(handler_spec::grants(settings))
        .map_err(|error| Refusal::at(Gate::Imports, explain(&anyhow::Error::from(error))))?;
    handler_spec::rehearse(&plugin, settings).map_err(|error| unstartable(&error))?;
    tests(&plugin, settings)?;
    Ok(Version::new(Arc::new(plugin), settings.clone(), source))
}

/// Whether a file of so many bytes may be a handler; before it is read.
pub fn size(bytes: u64, settings: &config::Pipeline) -> Result<(), Refusal> {
    size::fits(bytes, settings.limits.component_bytes).map_err(|error| Refusal::at(Gate::Size, error.reason()))
}

/// Runs both versions over messages of the past.
pub fn backtest(old: &Version, new: &Version, client: &ClientSettings) -> Result<(), Refusal> {
    let Some(wanted) = &new.settings.swap.backtest else { return Ok(()) };
    backtest::backtest(old, new, client, wanted).map(drop).map_err(|reason| Refusal::at(Gate::Backtest, reason))
}

fn unloadable(error: &Unloadable) -> Refusal {
    let gate = match error.kind {
        LoadKind::Size => Gate::Size,
        LoadKind::Format => Gate::Format,
        LoadKind::Contract => Gate::Contract,
        LoadKind::Imports => Gate::Imports,
        LoadKind::Instance => Gate::Init,
        LoadKind::Compile => Gate::Compile,
    };
    Refusal::at(gate, error.reason.clone())
}

fn unstartable(error: &StartError) -> Refusal {
    let gate = match error {
        StartError::NotGranted(_) | StartError::Imports(_) => Gate::Imports,
        _ => Gate::Init,
    };
    Refusal::at(gate, error.to_string())
}

fn tests(plugin: &Plugin, settings: &config::Pipeline) -> Result<(), Refusal> {
    let wrong = |error: &anyhow::Error| Refusal::at(Gate::Tests, explain(error));
    for path in &settings.swap.tests {
        let (_, file) = file::read(path).map_err(|error| wrong(&error))?;
        for case in &file.cases {
            let at =
                |text: String| Refusal::at(Gate::Tests, format!("case `{}` of {}: {text}", case.name, path.display()));
            let told = handler_tests::run(case, plugin, settings).map_err(|error| at(explain(&error)))?;
            let Told::Messages(outcomes) = told else { continue };
            let Some(outcome) = outcomes.iter().find(|outcome| outcome.mismatch.is_some()) else { continue };
            let Some(mismatch) = &outcome.mismatch else { continue };
            let (expected, got) = (mismatch.expected.trim_end(), mismatch.got.trim_end());
            return Err(at(format!("message {}: expected\n{expected}\ngot\n{got}", outcome.message + 1)));
        }
    }
    Ok(())
}
