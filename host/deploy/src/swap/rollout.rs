//! What comes of a trial: the next step, the whole, or the way back. A thread for each trial, which waits for its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_config as config;
use wasmill_core::Share;
use wasmill_pipeline::version::Version;
use wasmill_pipeline::versions::Split;

use super::answer::{Done, Outcome, boundaries};
use super::history::{Record, What};
use super::swapper::Swapper;
use super::trial::{End, Plan, Trial};
use crate::handler::digest::short;

impl Swapper {
    /// The first step of a canary.
    pub(super) fn first_step(&self, new: &Arc<Version>, old: &Arc<Version>) -> Arc<Trial> {
        let share = new.settings.swap.canary.steps.first().copied().unwrap_or(Share::ALL);
        step(new, old, share)
    }

    /// A shadow.
    pub(super) fn beside(&self, new: &Arc<Version>, old: &Arc<Version>) -> Arc<Trial> {
        let config::Shadow { until, differences } = new.settings.swap.shadow;
        Arc::new(Trial::new(Plan::Shadow { differences }, new.clone(), old.clone(), until))
    }

    /// Waits for the end of the trial that is on, on a thread of its own, and does what follows from it.
    pub(super) fn follow(self: &Arc<Self>, trial: Option<Arc<Trial>>, by: String) {
        let Some(trial) = trial else { return };
        let swapper = self.clone();
        let thread = std::thread::Builder::new().name(format!("{}-trial", self.shared.name));
        let spawned = thread.spawn(move || {
            let end = trial.wait();
            let _turn = swapper.turn.lock();
            // Something else is in force by now, and whoever put it there has answered for this.
            let (_, current) = swapper.in_force();
            if current.is_some_and(|one| Arc::ptr_eq(&one, &trial)) {
                swapper.conclude(&trial, end, &by);
            }
        });
        if let Err(error) = spawned {
            tracing::error!(pipeline = %self.shared.name, %error, "no thread for a trial; nothing follows from it");
        }
    }

    fn conclude(self: &Arc<Self>, trial: &Arc<Trial>, end: End, by: &str) {
        match (trial.plan(), end) {
            (_, End::Ended(_)) => {}
            (Plan::Watch, End::Passed) => {
                let record = Record::now(What::Confirmed, by, Some((&*trial.old).into()), (&*trial.new).into());
                self.history.add(record);
            }
            (Plan::Watch, End::Failed(reason)) => {
                self.past.lock().pop();
                self.go_back(&trial.new, trial.old.clone(), "rollback", Some(&reason));
            }
            (Plan::Canary(split), End::Passed) => self.grow(trial, split.share, by),
            (Plan::Canary(_), End::Failed(reason)) => drop(self.leave(trial, "rollback", &reason)),
            (Plan::Shadow { .. }, End::Passed | End::Failed(_)) => self.report(trial, by),
        }
    }

    /// A canary that lasted a step gets a larger share, or all.
    fn grow(self: &Arc<Self>, trial: &Arc<Trial>, share: Share, by: &str) {
        let (new, old) = (&trial.new, &trial.old);
        let next = new.settings.swap.canary.steps.iter().copied().find(|next| *next > share && *next < Share::ALL);
        let began = Instant::now();
        let (what, done, serves, trial) = match next {
            Some(next) => (What::Canary, Done::Canary, old, Some(step(new, old, next))),
            None => (What::Swap, Done::Swapped, new, self.watched(new, old)),
        };
        let deployed = self.hand_over(serves.clone(), trial.clone());
        if done == Done::Swapped {
            self.remember(old.clone());
        }
        let outcome = self.outcome(done, old, new, &deployed, Duration::ZERO, began.elapsed());
        self.tell(what, by, &outcome, None);
        self.follow(trial, by.to_owned());
    }

    /// The version that serves serves alone again.
    pub(super) fn leave(&self, trial: &Trial, by: &str, reason: &str) -> Outcome {
        let began = Instant::now();
        let deployed = self.hand_over(trial.old.clone(), None);
        let outcome =
            self.outcome(Done::RolledBack, &trial.new, &trial.old, &deployed, Duration::ZERO, began.elapsed());
        tracing::error!(
            pipeline = %self.shared.name, from = short(trial.new.digest()), to = short(trial.old.digest()), reason,
            seen = trial.seen().messages, "version taken back"
        );
        self.tell(What::Rollback, by, &outcome, Some(reason));
        outcome
    }

    /// The version before serves again.
    pub(super) fn go_back(&self, from: &Version, to: Arc<Version>, by: &str, reason: Option<&str>) -> Outcome {
        let began = Instant::now();
        // One that does not start any more is made by the lanes, which try again and say what is wrong.
        if let Err(refusal) = self.stage(&to) {
            tracing::error!(pipeline = %self.shared.name, %refusal, "the version before does not start any more");
        }
        let deployed = self.hand_over(to.clone(), None);
        let outcome = self.outcome(Done::RolledBack, from, &to, &deployed, Duration::ZERO, began.elapsed());
        if let Some(reason) = reason {
            tracing::error!(
                pipeline = %self.shared.name, from = short(from.digest()), to = short(to.digest()), reason, "version taken back"
            );
        }
        self.tell(What::Rollback, by, &outcome, reason);
        outcome
    }

    /// A shadow has seen what it was to see.
    fn report(&self, trial: &Trial, by: &str) {
        let deployed = self.hand_over(trial.old.clone(), None);
        let report = trial.report();
        let (summary, crashes) = (&report.summary, trial.seen().crashes);
        let reason = format!("{} of {} messages differ, {crashes} calls crashed", summary.differing, summary.messages);
        tracing::info!(pipeline = %self.shared.name, reason, "shadow ended");
        let mut record = Record::now(What::Report, by, Some((&*trial.old).into()), (&*trial.new).into());
        record.reason = Some(reason);
        record.report = serde_json::to_value(&report).ok();
        record.partitions = boundaries(&deployed);
        self.history.add(record);
    }
}

fn step(new: &Arc<Version>, old: &Arc<Version>, share: Share) -> Arc<Trial> {
    let canary = &new.settings.swap.canary;
    let plan = Plan::Canary(Split { by: canary.by, share });
    Arc::new(Trial::new(plan, new.clone(), old.clone(), canary.step))
}
