//! What the host keeps beside a guest's memory, and where its functions find it.

use crate::capabilities::log::LogGate;
use crate::capabilities::outcome::{Outcome, OutcomeSlot};
use crate::capabilities::topics::Topics;
use crate::capabilities::wasi::{Wasi, WasiView};
use crate::deadline::Watch;
use crate::limiter::Limiter;
use crate::spec::InstanceSpec;

/// The data of one instance's store: the contexts of its capabilities, and its limits.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    pub(crate) watch: Watch,
    pub(crate) log: LogGate,
    pub(crate) topics: Topics,
    pub(crate) outcome: OutcomeSlot,
    wasi: Wasi,
}

impl State {
    pub(crate) fn new(spec: &InstanceSpec) -> Self {
        Self {
            limiter: Limiter::new(spec.limits.memory_bytes),
            watch: Watch::new(),
            log: LogGate::new(&spec.limits, spec.log.clone()),
            topics: Topics { outputs: spec.outputs.clone(), sources: spec.sources.clone() },
            wasi: Wasi::new(),
            outcome: OutcomeSlot::new(Outcome::new(&spec.limits, spec.outputs.clone())),
        }
    }

    /// A call is over: what it wrote without ending the line is written now, and what was dropped is said.
    pub(crate) fn settle_log(&mut self) {
        self.wasi().write_rest();
        self.log.settle();
    }

    /// What the functions of WASI work with.
    pub(crate) fn wasi(&mut self) -> WasiView<'_> {
        WasiView { wasi: &mut self.wasi, log: &mut self.log, watch: &mut self.watch }
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        self.outcome.get()
    }

    pub(crate) fn outcome_mut(&mut self) -> &mut Outcome {
        self.outcome.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::spec::{Limits, LogLevel, LogSink};

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl LogSink for Lines {
        fn write(&self, _: LogLevel, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    #[test]
    fn a_call_that_logs_nothing_still_says_what_an_earlier_one_lost() {
        let lines = Arc::new(Lines::default());
        let mut state = State::new(&InstanceSpec {
            pipeline: String::new(),
            group: String::new(),
            config: Vec::new(),
            grants: Default::default(),
            limits: Limits { log_lines_per_second: 1, ..Limits::default() },
            outputs: Arc::default(),
            sources: Arc::default(),
            log: lines.clone(),
        });
        for line in ["one", "two", "three"] {
            state.log.write(LogLevel::Info, line);
        }
        state.settle_log();
        assert_eq!(*lines.0.lock().unwrap(), ["one"], "the second is not over");
        state.log.age();
        state.settle_log();
        assert_eq!(lines.0.lock().unwrap()[1..], ["2 log lines dropped: more than 1 in a second"]);
    }
}
