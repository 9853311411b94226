//! What an instance is started with: names, configuration, limits, and where its log lines go.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::Grants;

/// Everything that one instance is told and allowed.
#[derive(Clone)]
pub struct InstanceSpec {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Its consumer group.
    pub group: String,
    /// The pipeline's `config` table; handed over sorted by key.
    pub config: Vec<(String, String)>,
    /// What it may ask for beyond computing.
    pub grants: Grants,
    /// Bounds of the instance and of each call.
    pub limits: Limits,
    /// The topics it may write to.
    pub outputs: Arc<OutputNames>,
    /// The topics it is given messages of; the index is the topic's `source` number.
    pub sources: Arc<Vec<String>>,
    /// Where its log lines go.
    pub log: Arc<dyn LogSink>,
}

/// Bounds of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memories and tables together, bytes.
    pub memory_bytes: u64,
    /// A call may be charged with so much for each message handed over: processor time and waits. By message, not by
    /// call: a fixed bound would end every large batch of slow messages for ever.
    pub time_per_message: Duration,
    /// How long a call may last by the wall clock.
    pub time_cap: Duration,
    /// What instantiation and `init` may be charged with together. By the wall clock they may last for `time_cap` longer.
    pub init_time: Duration,
    /// Outputs of one call.
    pub output_messages: usize,
    /// Bytes of the outputs of one call, references to the input included.
    pub output_bytes: usize,
    /// Bytes of one log line; the rest is cut.
    pub log_line_bytes: usize,
    /// Log lines of one instance in a second; the rest is dropped and counted.
    pub log_lines_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            time_per_message: Duration::from_secs(1),
            time_cap: Duration::from_secs(10),
            init_time: Duration::from_secs(10),
            output_messages: 100_000,
            output_bytes: 64 << 20,
            log_line_bytes: 4096,
            log_lines_per_second: 100,
        }
    }
}

/// The topics that a pipeline grants to its handler, by number: 0 is the default output, then the granted ones from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputNames {
    /// Topic number 0. `None`: the pipeline has no default output, and whatever is emitted to 0 breaks the contract.
    pub default: Option<String>,
    /// Topic numbers from 1 on.
    pub granted: Vec<String>,
}

impl OutputNames {
    /// The number of a granted topic.
    pub fn number(&self, name: &str) -> Option<u32> {
        if self.default.as_deref() == Some(name) {
            return Some(0);
        }
        let index = self.granted.iter().position(|granted| granted == name)?;
        u32::try_from(index + 1).ok()
    }

    /// The name behind a number; `None` if nothing is granted under it.
    pub fn name(&self, number: u32) -> Option<&str> {
        match number {
            0 => self.default.as_deref(),
            n => self.granted.get(n as usize - 1).map(String::as_str),
        }
    }

    /// One more than the highest number.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.granted.len() + 1).unwrap_or(u32::MAX)
    }

    /// For the text of a refusal.
    pub(crate) fn listed(&self) -> String {
        let names: Vec<&str> = self.default.iter().chain(&self.granted).map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

/// How serious a handler's log line is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For whoever writes the handler.
    Debug,
    /// What happens in the ordinary course.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
}

/// Takes a handler's log lines. It is called on the lane's thread and must not wait: a full sink drops and counts.
pub trait LogSink: Send + Sync {
    /// One line, already cut and free of control characters.
    fn write(&self, level: LogLevel, text: &str);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_numbered_from_the_default_output_on() {
        let names = OutputNames { default: Some("out".into()), granted: vec!["eu".into(), "us".into()] };
        for (number, name) in ["out", "eu", "us"].into_iter().enumerate() {
            assert_eq!(names.number(name), Some(number as u32));
            assert_eq!(names.name(number as u32), Some(name));
        }
        assert_eq!(names.number("else"), None);
        assert_eq!(names.name(3), None);
        assert_eq!(OutputNames::default().name(0), None);
    }
}
