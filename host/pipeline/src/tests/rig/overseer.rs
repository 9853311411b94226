//! Somebody who looks on at what is deployed, and writes down what he is told.

use std::sync::Arc;

use parking_lot::Mutex;
use wasmill_core::FailureKind;

use crate::versions::{Called, Candidate, Overseer, Ruling, Said, Shadowed};

pub struct Watcher {
    candidate: Option<Arc<Candidate>>,
    told: Mutex<Vec<String>>,
    /// What it rules once it has been told so often.
    suspends_after: Mutex<Option<usize>>,
    takes_back: Mutex<bool>,
    on_suspended: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Watcher {
    pub fn new(candidate: Option<Arc<Candidate>>) -> Arc<Self> {
        Arc::new(Self {
            candidate,
            told: Mutex::default(),
            suspends_after: Mutex::default(),
            takes_back: Mutex::default(),
            on_suspended: Mutex::default(),
        })
    }

    /// What it was told: `v2 called 3`, `counted`, `shadowed 5 6: 2 | 1 retry`, `breaker`, `suspended`.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().clone()
    }

    /// Has the pipeline suspended when it hears of the call number `calls`.
    pub fn suspends_after(&self, calls: usize) {
        *self.suspends_after.lock() = Some(calls);
    }

    /// Does this when it hears that the pipeline is suspended.
    pub fn when_suspended(&self, does: impl Fn() + Send + 'static) {
        *self.on_suspended.lock() = Some(Box::new(does));
    }

    /// Takes the version back when the breaker is about to open.
    pub fn takes_back(&self) {
        *self.takes_back.lock() = true;
    }
}

fn said(said: Said<'_>) -> String {
    let mut text = said.reached.to_string();
    for failure in said.failures {
        text += if failure.kind == FailureKind::Retry { " retry" } else { " reject" };
    }
    text + &" out".repeat(said.emitted.rows.len())
}

impl Overseer for Watcher {
    fn candidate(&self) -> Option<&Arc<Candidate>> {
        self.candidate.as_ref()
    }

    fn observe(&self, call: Option<Called<'_>>) -> Ruling {
        let mut told = self.told.lock();
        told.push(match call {
            Some(call) => format!("{} called {}", call.version.digest(), call.messages),
            None => "counted".to_owned(),
        });
        let calls = told.iter().filter(|line| line.contains("called")).count();
        if self.suspends_after.lock().is_some_and(|after| calls >= after) { Ruling::Suspend } else { Ruling::GoOn }
    }

    fn shadowed(&self, both: &Shadowed<'_>) {
        let offsets = both.batch.messages().map(|message| message.offset.to_string()).collect::<Vec<_>>().join(" ");
        let candidate = both.candidate.map_or_else(|error| error.class.to_string(), said);
        self.told.lock().push(format!("shadowed {offsets}: {} | {candidate}", said(both.serving)));
    }

    fn breaker_opens(&self, _: &str) -> Option<Ruling> {
        self.told.lock().push("breaker".to_owned());
        self.takes_back.lock().then_some(Ruling::Suspend)
    }

    fn suspended(&self) {
        self.told.lock().push("suspended".to_owned());
        if let Some(does) = &*self.on_suspended.lock() {
            does();
        }
    }
}
