//! `wasmill check`: everything that can be found wrong before anything runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};
use wasmill_config::{self as config, LoadError};
use wasmill_deploy::explain;
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::oci::Offline;
use wasmill_pipeline::handler_spec;
use wasmill_wasm::{InstanceSpec, LogLevel, LogSink};

use super::global::Global;
use super::output::answer;
use crate::cache::cache_folder;
use crate::config_file::{self, unreadable};
use crate::failure::{Exit, Failure};

/// Check a configuration and its handlers without starting anything
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The configuration
    #[arg(default_value = "wasmill.toml")]
    config: PathBuf,
    /// Findings as JSON
    #[arg(long)]
    json: bool,
    /// Only the configuration: handlers are not loaded
    #[arg(long)]
    no_handlers: bool,
}

/// A handler that says something while it starts is not what a check is about.
struct Quiet;

impl LogSink for Quiet {
    fn write(&self, _: LogLevel, _: &str) {}
}

impl Check {
    /// Checks. Exit 2: mistakes in the configuration; 3: a handler cannot be loaded or does not start.
    pub fn run(self, _: &Global) -> Result<Exit, Failure> {
        let loaded = match config_file::read(&self.config) {
            Ok(loaded) => loaded,
            Err(LoadError::Mistakes(mistakes)) => {
                answer(self.json, &json!({ "ok": false, "findings": mistakes.0, "handlers": [] }), || {
                    mistakes.0.iter().map(|finding| format!("{}\n", finding.long())).collect::<Vec<_>>().join("\n")
                })?;
                return Ok(Exit::Usage);
            }
            Err(error) => return Err(unreadable(error)),
        };
        let handlers = if self.no_handlers { Vec::new() } else { self.handlers(&loaded.config)? };
        let ok = handlers.iter().all(|handler| handler["error"].is_null());
        let report = json!({ "ok": ok, "findings": loaded.warnings, "handlers": handlers });
        answer(self.json, &report, || {
            let mut text: String = loaded.warnings.iter().map(|warning| format!("{}\n\n", warning.long())).collect();
            for handler in &handlers {
                text += &line(handler);
            }
            let pipelines = loaded.config.pipelines.len();
            let errors = handlers.iter().filter(|handler| !handler["error"].is_null()).count();
            let errors = if errors > 0 { format!(", {errors} error(s)") } else { String::new() };
            let (file, warnings) = (self.config.display(), loaded.warnings.len());
            text += &format!("{file}: {pipelines} pipeline(s), {warnings} warning(s){errors}\n");
            text
        })?;
        Ok(if ok { Exit::Done } else { Exit::Start })
    }

    fn handlers(&self, config: &config::Config) -> Result<Vec<Value>, Failure> {
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        Ok(config.pipelines.iter().map(|pipeline| handler(&loader, pipeline)).collect())
    }
}

/// Loads a handler and starts it once, as `run` would.
fn handler(loader: &Loader, pipeline: &config::Pipeline) -> Value {
    let mut told = json!({ "pipeline": pipeline.name, "handler": pipeline.handler.to_string(), "error": null });
    let fetched = loader
        .fetch(&pipeline.handler, pipeline.limits.component_bytes, Offline::Allowed)
        .with_context(|| format!("pipeline {}", pipeline.name));
    if let Ok(fetched) = &fetched {
        told["artifact"] = fetched.artifact.clone().into();
        told["warning"] = fetched.warning.clone().into();
    }
    let plugin = match fetched.and_then(|fetched| loader.load_fetched(pipeline, &fetched)) {
        Ok(plugin) => plugin,
        Err(error) => {
            told["error"] = explain(&error).into();
            return told;
        }
    };
    told["digest"] = plugin.digest().into();
    told["bytes"] = plugin.size().into();
    told["world"] = plugin.world().as_str().into();
    told["imports"] = plugin.imports().into();
    let spec = InstanceSpec { log: Arc::new(Quiet), ..handler_spec::spec(pipeline, 0) };
    if let Err(error) = plugin.instantiate(&spec) {
        told["error"] = format!("pipeline {}: {error}", pipeline.name).into();
    }
    told
}

fn line(handler: &Value) -> String {
    let word = |key: &str| handler[key].as_str().unwrap_or_default().to_owned();
    let warning = handler["warning"].as_str().map(|warning| format!("warning: {warning}\n")).unwrap_or_default();
    let artifact = handler["artifact"].as_str().map(|digest| format!(", artifact {digest}")).unwrap_or_default();
    match handler["error"].as_str() {
        Some(error) => format!("{warning}error: {error}\n"),
        None => format!(
            "{warning}pipeline {}: {} ({} bytes, world {}, sha256 {}{artifact})\n",
            word("pipeline"),
            word("handler"),
            handler["bytes"],
            word("world"),
            word("digest")
        ),
    }
}
