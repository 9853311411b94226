//! `log`: a handler's lines, cut, escaped, and dropped past so many a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_core::RateLimit;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};

use super::names::of_version;
use super::words::Words;
use crate::spec::{Limits, LogLevel, LogSink};
use crate::text;

/// The interface's name.
pub(crate) const INTERFACE: &str = "wasmill:handler/log@0.1.0";

const WINDOW: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only guests make levels; they are lifted by number")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

/// Adds the interface to the linker. `log` finds the context in a store's data.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    version: &str,
    log: impl Fn(&mut T) -> &mut LogGate + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    linker.instance(&of_version(INTERFACE, version))?.func_wrap(
        "write",
        move |mut cx: StoreContextMut<'_, T>, (level, text): (Level, WasmStr)| {
            let level = LogLevel::from(level);
            // Before the text is looked at: a dropped line of megabytes must not cost what a written one does.
            let gate = log(cx.data_mut());
            let admitted = gate.admit();
            if !admitted && level < LogLevel::Warn {
                return Ok(());
            }
            let line_bytes = gate.line_bytes;
            // Taken out while guest memory is read in place.
            let mut words = std::mem::take(&mut gate.words);
            let text = text.to_str(&cx)?;
            if level >= LogLevel::Warn {
                words.line(&text);
            }
            let line = admitted.then(|| text::clean(&text, line_bytes));
            let gate = log(cx.data_mut());
            gate.words = words;
            if let Some(line) = line {
                gate.sink.write(level, &line);
            }
            Ok(())
        },
    )
}

/// Complete lines of one level, cut and escaped already.
pub(crate) struct Lines {
    pub(crate) level: LogLevel,
    pub(crate) texts: Vec<String>,
    /// Lines there was no room for, so that they were not made.
    pub(crate) dropped: u64,
}

/// Lets so many lines a second through and counts the rest.
pub(crate) struct LogGate {
    sink: Arc<dyn LogSink>,
    pub(crate) line_bytes: usize,
    per_second: u32,
    limit: RateLimit,
    dropped_ever: u64,
    /// How far the clock of a test is ahead.
    #[cfg(test)]
    ahead: Duration,
    /// What the running call said last, dropped lines included.
    pub(crate) words: Words,
}

impl LogGate {
    pub(crate) fn new(limits: &Limits, sink: Arc<dyn LogSink>) -> Self {
        Self {
            sink,
            line_bytes: limits.log_line_bytes,
            per_second: limits.log_lines_per_second,
            limit: RateLimit::new(limits.log_lines_per_second, WINDOW),
            dropped_ever: 0,
            #[cfg(test)]
            ahead: Duration::ZERO,
            words: Words::default(),
        }
    }

    /// Lines dropped since the instance was made.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_ever
    }

    /// Writes a line that is clean already, or drops it.
    pub(crate) fn write(&mut self, level: LogLevel, line: &str) {
        if self.admit() {
            self.sink.write(level, line);
        }
    }

    /// How many lines may be written now.
    pub(crate) fn room(&mut self) -> usize {
        let now = self.now();
        self.report_past(now);
        self.limit.room(now) as usize
    }

    /// Writes lines that there was room for, and counts those there was none for.
    pub(crate) fn write_all(&mut self, lines: &Lines) {
        for text in &lines.texts {
            self.write(lines.level, text);
        }
        self.limit.refuse(lines.dropped);
        self.dropped_ever += lines.dropped;
    }

    /// Whether one more line may be written now.
    fn admit(&mut self) -> bool {
        let now = self.now();
        self.report_past(now);
        let admitted = self.limit.admit(now);
        self.dropped_ever += u64::from(!admitted);
        admitted
    }

    /// Says what was dropped once its second is over. After a call, so that the last lines of a flood are not dropped
    /// in silence.
    pub(crate) fn settle(&mut self) {
        // Most calls drop nothing, and need not ask the time.
        if self.limit.refused() > 0 {
            self.report_past(self.now());
        }
    }

    fn now(&self) -> Instant {
        let now = Instant::now();
        #[cfg(test)]
        let now = now + self.ahead;
        now
    }

    /// Lets the running second be over.
    #[cfg(test)]
    pub(crate) fn age(&mut self) {
        self.ahead += WINDOW;
    }

    fn report_past(&mut self, now: Instant) {
        let dropped = self.limit.take_refused(now);
        self.report(dropped);
    }

    fn report(&self, dropped: u64) {
        if dropped > 0 {
            let limit = self.per_second;
            self.sink.write(LogLevel::Warn, &format!("{dropped} log lines dropped: more than {limit} in a second"));
        }
    }
}

impl Drop for LogGate {
    fn drop(&mut self) {
        self.report(self.limit.refused());
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;
    use wasmtime::component::Component;

    use super::*;

    #[test]
    fn two_versions_of_an_interface_stand_side_by_side() {
        let engine = Engine::default();
        let mut linker = Linker::<LogGate>::new(&engine);
        add_to_linker(&mut linker, "0.1.9", |log| log).unwrap();
        add_to_linker(&mut linker, "0.2.0", |log| log).unwrap();
        let links = |version: &str| {
            let text = format!(
                r#"(component (import "wasmill:handler/log@{version}" (instance
                    (type $levels (enum "trace" "debug" "info" "warn" "error"))
                    (export "level" (type $level (eq $levels)))
                    (export "write" (func (param "level" $level) (param "text" string))))))"#
            );
            linker.instantiate_pre(&Component::new(&engine, wat::parse_str(text).unwrap()).unwrap()).is_ok()
        };
        for yes in ["0.1.0", "0.1.9", "0.2.0", "0.2.1"] {
            assert!(links(yes), "{yes}");
        }
        assert!(!links("0.3.0"));
    }
}
