//! What an instance of a pipeline's handler is made with: the pipeline's settings in the words of `host/wasm`.

use std::sync::Arc;

use wasmill_config as config;
use wasmill_core::Grants;
use wasmill_wasm::{InstanceSpec, Limits, LogLevel, LogSink, OutputNames, StartError};

use crate::io::Handler;

/// What a pipeline grants to its handler.
pub fn grants(settings: &config::Pipeline) -> Grants {
    settings.grant.iter().copied().collect()
}

/// The topics that a pipeline's handler may name, by number.
pub fn output_names(settings: &config::Pipeline) -> OutputNames {
    OutputNames { default: settings.output.default.clone(), granted: settings.output.granted.clone() }
}

/// What an instance of a pipeline's handler is made with.
pub fn spec(settings: &config::Pipeline, lane: usize) -> InstanceSpec {
    let limits = &settings.limits;
    InstanceSpec {
        pipeline: settings.name.clone(),
        group: settings.group.clone(),
        config: settings.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        grants: grants(settings),
        limits: Limits {
            memory_bytes: limits.memory_bytes,
            time_per_message: limits.time,
            time_cap: limits.time_cap,
            init_time: limits.init_time,
            output_messages: limits.output_messages,
            output_bytes: limits.output_bytes,
            log_line_bytes: limits.log_line_bytes,
            log_lines_per_second: limits.log_lines_per_second,
        },
        outputs: Arc::new(output_names(settings)),
        sources: Arc::new(settings.topics.clone()),
        log: Arc::new(HandlerLog::new(&settings.name, lane)),
    }
}

/// Makes and drops an instance, so that a handler that cannot start is noticed before anything is consumed.
pub fn rehearse(handler: &dyn Handler, settings: &config::Pipeline) -> Result<(), StartError> {
    handler.start(&spec(settings, 0)).map(drop)
}

/// Where the log lines of a handler go: to the log, with where they came from.
pub struct HandlerLog {
    pipeline: String,
    lane: usize,
}

impl HandlerLog {
    /// For the handler of a lane.
    pub fn new(pipeline: &str, lane: usize) -> Self {
        Self { pipeline: pipeline.to_owned(), lane }
    }
}

impl LogSink for HandlerLog {
    fn write(&self, level: LogLevel, text: &str) {
        let (pipeline, lane) = (&self.pipeline, self.lane);
        match level {
            LogLevel::Trace => tracing::trace!(target: "handler", %pipeline, lane, "{text}"),
            LogLevel::Debug => tracing::debug!(target: "handler", %pipeline, lane, "{text}"),
            LogLevel::Info => tracing::info!(target: "handler", %pipeline, lane, "{text}"),
            LogLevel::Warn => tracing::warn!(target: "handler", %pipeline, lane, "{text}"),
            LogLevel::Error => tracing::error!(target: "handler", %pipeline, lane, "{text}"),
        }
    }
}
