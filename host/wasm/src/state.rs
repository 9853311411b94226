//! What the host keeps beside a guest's memory, and where its functions find it.

use crate::capabilities::log::LogGate;
use crate::capabilities::outcome::Outcome;
use crate::capabilities::topics::Topics;
use crate::capabilities::wasi::Wasi;
use crate::deadline::Watch;
use crate::limiter::Limiter;
use crate::spec::InstanceSpec;

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    pub(crate) watch: Watch,
    pub(crate) log: LogGate,
    pub(crate) topics: Topics,
    pub(crate) wasi: Wasi,
    outcome: Option<Box<Outcome>>,
}

/// Why the outcome is there: `emit` takes it out, calls nothing that could look for it, and puts it back.
const THERE: &str = "the outcome is out only while emit reads guest memory";

impl State {
    pub(crate) fn new(spec: &InstanceSpec) -> Self {
        Self {
            limiter: Limiter::new(spec.limits.memory_bytes),
            watch: Watch::new(),
            log: LogGate::new(&spec.limits, spec.log.clone()),
            topics: Topics { outputs: spec.outputs.clone(), sources: spec.sources.clone() },
            wasi: Wasi::new(),
            outcome: Some(Box::new(Outcome::new(&spec.limits, spec.outputs.clone()))),
        }
    }

    /// A call is over: what it wrote without ending the line is written now, and what was dropped is said.
    pub(crate) fn settle_log(&mut self) {
        for (level, line) in self.wasi.stdio.rest(self.log.line_bytes) {
            self.log.write(level, &line);
        }
        self.log.settle();
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        self.outcome.as_ref().expect(THERE)
    }

    pub(crate) fn outcome_mut(&mut self) -> &mut Outcome {
        self.outcome.as_mut().expect(THERE)
    }

    pub(crate) fn take_outcome(&mut self) -> Box<Outcome> {
        self.outcome.take().expect(THERE)
    }

    pub(crate) fn put_outcome(&mut self, outcome: Box<Outcome>) {
        self.outcome = Some(outcome);
    }
}
