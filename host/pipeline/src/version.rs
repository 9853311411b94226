//! A version: a handler and the settings that can change with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmill_config as config;
use wasmill_core::Tally;

use crate::io::Handler;

/// A handler, the settings that change with it, and what it has done so far.
pub struct Version {
    /// What instances are made of.
    pub handler: Arc<dyn Handler>,
    /// The pipeline's settings under which it runs. Only those that can change while the pipeline runs may differ from
    /// the ones it was started with.
    pub settings: Arc<config::Pipeline>,
    /// Where it came from, for people: a file, a reference.
    pub source: String,
    /// Its place in the control topic; zero: the group never agreed on it, or there is no control topic.
    pub epoch: u64,
    /// What it has done in this process.
    pub done: Done,
}

impl Version {
    /// A version that has done nothing yet.
    pub fn new(handler: Arc<dyn Handler>, settings: Arc<config::Pipeline>, source: String) -> Self {
        Self { handler, settings, source, epoch: 0, done: Done::default() }
    }

    /// The same, agreed on at this place in the control topic.
    pub fn at(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// The handler's digest.
    pub fn digest(&self) -> &str {
        self.handler.digest()
    }
}

/// What a version has done. Added to once a call, by every lane.
#[derive(Default)]
pub struct Done {
    messages: AtomicU64,
    given_up: AtomicU64,
    crashes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Done {
    /// A call was settled: so many messages are done with, so many of them given up.
    pub fn settled(&self, messages: usize, given_up: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        if given_up > 0 {
            self.given_up.fetch_add(given_up as u64, Ordering::Relaxed);
        }
    }

    /// A call took so long.
    pub fn took(&self, time: Duration) {
        self.nanoseconds.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// A call ended without an answer.
    pub fn crashed(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
    }

    /// The sum so far. Not of one moment: lanes go on meanwhile.
    pub fn tally(&self) -> Tally {
        Tally {
            messages: self.messages.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            crashes: self.crashes.load(Ordering::Relaxed),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
        }
    }
}
