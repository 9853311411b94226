//! A trial: a version is watched, beside the one it is to replace or after it took over, and found good or not.
//!
//! Lanes count, and look at the sum once a call. What they find is final and takes effect at once ([`Trial::is_over`],
//! [`PipelineShared::suspend`]); whoever waits for it ([`Trial::wait`]) then puts something else in force.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use wasmill_config as config;
use wasmill_core::{Budget, Excess, Pace, Tally};
use wasmill_kafka::TopicPartition;

use crate::compare::fields::Differences;
use crate::compare::summary::Summary;
use crate::pipeline::shared::PipelineShared;
use crate::pipeline::version::{Split, Version};

/// How the new version is tried.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// It gets a share of the messages, the old one the others.
    Canary(Split),
    /// It gets all messages beside the old one, and nothing of what it does counts.
    Shadow {
        /// Messages that differ and are reported with each field.
        differences: usize,
    },
    /// It has taken over and is watched for a while.
    Watch,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It lasted as long as it was to, and nothing was found.
    Passed,
    /// It went beyond its budget.
    Failed(String),
    /// Somebody ended it: an operator, another swap, the end of the pipeline.
    Ended(String),
}

/// A version on trial.
pub struct Trial {
    plan: Plan,
    /// The new version.
    pub new: Arc<Version>,
    /// The old one.
    pub old: Arc<Version>,
    until: config::Watched,
    budget: Budget,
    started: Instant,
    /// What both had done before.
    before: (Tally, Tally),
    /// Calls of the new version, and the slow ones.
    calls: AtomicU64,
    slow: AtomicU64,
    over: AtomicBool,
    full: AtomicBool,
    end: Mutex<Option<End>>,
    changed: Condvar,
    report: Mutex<Report>,
}

/// What a shadow would have done otherwise.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// All messages that were compared.
    pub summary: Summary,
    /// The first of those that differ, as many as `swap.shadow.differences`.
    pub first: Vec<Differing>,
}

/// A message of which the two versions made different things.
#[derive(Clone, Debug, Serialize)]
pub struct Differing {
    /// `topic/number`.
    pub partition: String,
    /// Its offset.
    pub offset: i64,
    /// In what.
    #[serde(flatten)]
    pub differences: Differences,
}

impl Trial {
    /// One that begins now.
    pub fn new(plan: Plan, new: Arc<Version>, old: Arc<Version>, until: config::Watched) -> Self {
        Self {
            plan,
            until,
            budget: new.settings.swap.budget,
            started: Instant::now(),
            before: (new.done.tally(), old.done.tally()),
            new,
            old,
            calls: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            over: AtomicBool::new(false),
            full: AtomicBool::new(false),
            end: Mutex::default(),
            changed: Condvar::new(),
            report: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is tried.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How messages are divided, in a canary.
    pub fn split(&self) -> Option<Split> {
        match &self.plan {
            Plan::Canary(split) => Some(*split),
            Plan::Shadow { .. } | Plan::Watch => None,
        }
    }

    /// The new version, if it runs beside the old one.
    pub fn beside(&self) -> Option<&Arc<Version>> {
        match &self.plan {
            Plan::Canary(_) | Plan::Shadow { .. } => Some(&self.new),
            Plan::Watch => None,
        }
    }

    /// Whether it has ended. From then on a canary gets nothing more.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What the new version has done in this trial.
    pub fn seen(&self) -> Tally {
        self.new.done.tally().since(self.before.0)
    }

    /// What it is compared with: in a canary what the old version does meanwhile, once that is enough; else all that it
    /// has done.
    fn measure(&self) -> Tally {
        let all = self.old.done.tally();
        let meanwhile = all.since(self.before.1);
        let enough = matches!(self.plan, Plan::Canary(_)) && meanwhile.messages >= self.budget.window;
        if enough { meanwhile } else { all }
    }

    fn lock_report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of so many messages the shadow made the same.
    pub fn same(&self, messages: u64) {
        self.lock_report().summary.same(messages);
    }

    /// Of this one it made something else.
    pub fn differs(&self, id: &TopicPartition, offset: i64, differences: Differences) {
        let Plan::Shadow { differences: most } = self.plan else { return };
        let mut report = self.lock_report();
        report.summary.differs(&differences);
        if report.first.len() < most {
            report.first.push(Differing { partition: id.to_string(), offset, differences });
        }
    }

    /// What it would have done otherwise so far.
    pub fn report(&self) -> Report {
        self.lock_report().clone()
    }

    /// A call took so long for so many messages.
    pub fn took(&self, version: &Arc<Version>, time: Duration, messages: usize) {
        if messages == 0 || !Arc::ptr_eq(version, &self.new) {
            return;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.budget.is_slow(time.as_nanos() as f64 / messages as f64, self.measure()) {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How the new version is worse than it may be, if it is.
    fn excess(&self, seen: Tally) -> Option<Excess> {
        // The slow ones first: a call that is counted meanwhile must not be among them and not among all.
        let slow = self.slow.load(Ordering::Relaxed);
        let pace = Pace { slow, calls: self.calls.load(Ordering::Relaxed) };
        let old = self.measure();
        self.budget.excess(seen, old).or_else(|| self.budget.too_slow(pace, seen, old))
    }

    /// A lane counted something under what had the number `serial`: is it enough, or too much?
    pub fn look(&self, shared: &PipelineShared, serial: u64) {
        if self.is_over() {
            return;
        }
        let seen = self.seen();
        if let Some(excess) = self.excess(seen).filter(|_| !matches!(self.plan, Plan::Shadow { .. })) {
            if self.plan == Plan::Watch {
                // All lanes run it: none may begin another batch with it. The way back ends this.
                shared.suspend(serial);
            }
            self.finish(End::Failed(excess.to_string()));
        } else if seen.messages >= self.until.messages && !self.full.swap(true, Ordering::AcqRel) {
            // The lock makes sure that who waits is either waiting already or has yet to look.
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    /// The breaker would open. Where the version that did it can be taken back, it need not.
    pub fn fail(&self, shared: &PipelineShared, serial: u64, reason: &str) -> bool {
        if self.is_over() || matches!(self.plan, Plan::Shadow { .. }) {
            return false;
        }
        if self.plan == Plan::Watch {
            shared.suspend(serial);
        }
        self.finish(End::Failed(reason.to_owned()));
        true
    }

    /// Ends it. What came first counts.
    pub fn finish(&self, end: End) {
        let mut slot = self.lock();
        if slot.is_none() {
            *slot = Some(end);
            self.over.store(true, Ordering::Release);
            drop(slot);
            self.changed.notify_all();
        }
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.lock().clone()
    }

    /// Waits until it ends, by itself or because it lasted long enough: a step of a canary both so long and so many
    /// messages, anything else what comes first.
    pub fn wait(&self) -> End {
        let mut slot = self.lock();
        loop {
            if let Some(end) = &*slot {
                return end.clone();
            }
            let full = self.full.load(Ordering::Acquire);
            let left = self.until.time.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero());
            let both = matches!(self.plan, Plan::Canary(_));
            if if both { full && left.is_none() } else { full || left.is_none() } {
                drop(slot);
                self.finish(End::Passed);
                slot = self.lock();
                continue;
            }
            // In a canary whose time is up only a message can change anything.
            let wait = left.unwrap_or(Duration::from_secs(3600));
            slot = self.changed.wait_timeout(slot, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
