//! A trial: a version is watched, beside the one it is to replace or after it took over, and found good or not.
//!
//! Lanes count, and a trial looks at the sum once a call. What it finds is final and takes effect at once
//! ([`Candidate::withdraw`], [`Ruling::Suspend`]); whoever waits for it ([`Trial::wait`]) then puts something else in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use wasmill_config as config;
use wasmill_core::{Budget, Excess, Pace, Tally};
use wasmill_kafka::TopicPartition;
use wasmill_pipeline::version::Version;
use wasmill_pipeline::versions::{Called, Candidate, Gets, Overseer, Ruling, Shadowed, Split};

use crate::replay::difference::Differences;
use crate::replay::shadow;
use crate::replay::summary::Summary;

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
    /// The new one as lanes know it, if it runs beside the old one.
    candidate: Option<Arc<Candidate>>,
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
    /// Why it is to end, from when that is found until the pipeline is suspended.
    found: Mutex<Option<String>>,
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
    /// The offset of the message.
    pub offset: i64,
    /// In what.
    #[serde(flatten)]
    pub differences: Differences,
}

impl Trial {
    /// One that begins now.
    pub fn new(plan: Plan, new: Arc<Version>, old: Arc<Version>, until: config::Watched) -> Self {
        let gets = match &plan {
            Plan::Canary(split) => Some(Gets::Share(*split)),
            Plan::Shadow { .. } => Some(Gets::Copies),
            Plan::Watch => None,
        };
        Self {
            plan,
            candidate: gets.map(|gets| Arc::new(Candidate::new(new.clone(), gets))),
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
            found: Mutex::default(),
            changed: Condvar::new(),
            report: Mutex::default(),
        }
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

    /// Whether the new version runs beside the old one.
    pub fn is_beside(&self) -> bool {
        self.candidate.is_some()
    }

    /// Whether it has ended. Until something else is in force, a canary that ended well goes on with its share: its keys
    /// would go back to the old version else, and come again with the next step.
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

    /// Notes a message of which the shadow made something else.
    fn differs(&self, id: &TopicPartition, offset: i64, differences: Differences) {
        let Plan::Shadow { differences: most } = self.plan else { return };
        let mut report = self.report.lock();
        report.summary.differs(&differences);
        if report.first.len() < most {
            report.first.push(Differing { partition: id.to_string(), offset, differences });
        }
    }

    /// What it would have done otherwise so far.
    pub fn report(&self) -> Report {
        self.report.lock().clone()
    }

    /// A call took so long for so many messages.
    fn took(&self, Called { version, time, messages }: Called<'_>) {
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

    /// Ends it. What came first counts.
    pub fn finish(&self, end: End) {
        let mut slot = self.end.lock();
        if slot.is_none() {
            // A canary that was found out gets nothing more. One that ended well goes on with its share until something else
            // is in force.
            if let Some(candidate) = &self.candidate
                && (matches!(end, End::Failed(_)) || matches!(self.plan, Plan::Shadow { .. }))
            {
                candidate.withdraw();
            }
            *slot = Some(end);
            self.over.store(true, Ordering::Release);
            drop(slot);
            self.changed.notify_all();
        }
    }

    /// Waits until it ends, by itself or because it lasted long enough: a step of a canary both so long and so many
    /// messages, anything else what comes first.
    pub fn wait(&self) -> End {
        let mut slot = self.end.lock();
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
                slot = self.end.lock();
                continue;
            }
            // In a canary whose time is up only a message can change anything.
            let wait = left.unwrap_or(Duration::from_secs(3600));
            self.changed.wait_for(&mut slot, wait);
        }
    }
}

impl Overseer for Trial {
    fn candidate(&self) -> Option<&Arc<Candidate>> {
        self.candidate.as_ref()
    }

    /// Is what was counted enough, or too much?
    fn observe(&self, call: Option<Called<'_>>) -> Ruling {
        if let Some(call) = call {
            self.took(call);
        }
        if self.is_over() {
            return Ruling::GoOn;
        }
        let seen = self.seen();
        if let Some(excess) = self.excess(seen).filter(|_| !matches!(self.plan, Plan::Shadow { .. })) {
            return self.found_out(excess.to_string());
        }
        if seen.messages >= self.until.messages && !self.full.swap(true, Ordering::AcqRel) {
            // The lock makes sure that who waits is either waiting already or has yet to look.
            drop(self.end.lock());
            self.changed.notify_all();
        }
        Ruling::GoOn
    }

    fn shadowed(&self, both: &Shadowed<'_>) {
        let mut same = 0;
        shadow::compare(both, |offset, differences| {
            if differences.is_empty() {
                same += 1;
            } else {
                self.differs(both.id, offset, differences);
            }
        });
        self.report.lock().summary.same(same);
    }

    fn suspended(&self) {
        if let Some(reason) = self.found.lock().take() {
            self.finish(End::Failed(reason));
        }
    }

    /// Where the version that did it can be taken back, the breaker need not open.
    fn breaker_opens(&self, reason: &str) -> Option<Ruling> {
        let can_go_back = !self.is_over() && !matches!(self.plan, Plan::Shadow { .. });
        can_go_back.then(|| self.found_out(reason.to_owned()))
    }
}

impl Trial {
    /// The new version is worse than it may be. If all lanes run it, none may begin another batch with it: the way back is
    /// near.
    fn found_out(&self, reason: String) -> Ruling {
        if self.plan != Plan::Watch {
            self.finish(End::Failed(reason));
            return Ruling::GoOn;
        }
        // It ends once the pipeline is suspended. The other way round, lanes would go on with it for as long as this one is
        // without a processor.
        self.found.lock().get_or_insert(reason);
        Ruling::Suspend
    }
}

#[cfg(test)]
mod tests {
    use wasmill_core::Share;
    use wasmill_pipeline::io::{Guest, Handler};
    use wasmill_wasm::{InstanceSpec, StartError};

    use super::*;

    struct NeverStarted;

    impl Handler for NeverStarted {
        fn digest(&self) -> &str {
            "v1"
        }

        fn start(&self, _: &InstanceSpec) -> Result<Box<dyn Guest>, StartError> {
            Err(StartError::Refused("nobody calls it".to_owned()))
        }
    }

    fn trial(plan: Plan) -> Trial {
        let text = "[kafka]\nbootstrap = \"broker:9092\"\n[pipelines.test]\ntopics = [\"orders\"]\ngroup = \"g\"\n\
                    handler = \"h.wasm\"\ndead_letter = \"dead\"\n";
        let settings = config::parse("wasmill.toml", text).expect("a good configuration").config.pipelines.remove(0);
        let settings = Arc::new(settings);
        let version = || Arc::new(Version::new(Arc::new(NeverStarted), settings.clone(), "test".to_owned()));
        Trial::new(plan, version(), version(), config::Watched { messages: 1000, time: Duration::from_secs(3600) })
    }

    #[test]
    fn a_version_that_took_over_and_is_found_bad_is_suspended_before_its_trial_ends() {
        let trial = trial(Plan::Watch);
        assert_eq!(trial.breaker_opens("too many"), Some(Ruling::Suspend));
        assert!(!trial.is_over(), "whoever waits would put something else in force while lanes go on");
        trial.suspended();
        assert!(trial.is_over());
        assert_eq!(trial.wait(), End::Failed("too many".to_owned()));
        assert_eq!(trial.breaker_opens("again"), None, "what came first counts");
    }

    #[test]
    fn a_canary_that_is_found_bad_ends_at_once_and_nothing_is_suspended() {
        let trial = trial(Plan::Canary(Split { by: config::CanaryBy::Partition, share: Share::ALL }));
        assert_eq!(trial.breaker_opens("too many"), Some(Ruling::GoOn));
        assert!(trial.is_over());
        assert_eq!(trial.wait(), End::Failed("too many".to_owned()));
        let candidate = trial.candidate().expect("it is beside the other");
        assert!(candidate.split().is_none(), "it gets nothing more");
    }

    #[test]
    fn a_suspension_for_another_reason_ends_no_trial() {
        let trial = trial(Plan::Watch);
        trial.suspended();
        assert!(!trial.is_over());
    }
}
