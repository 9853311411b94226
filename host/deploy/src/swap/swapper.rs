//! Puts versions in force, one after the other: gate, instances for all lanes, handover, answer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmill_config as config;
use wasmill_kafka::ClientSettings;
use wasmill_pipeline::deployed::Deployed;
use wasmill_pipeline::handler_spec;
use wasmill_pipeline::lane::Staged;
use wasmill_pipeline::lanes::Lanes;
use wasmill_pipeline::shared::PipelineShared;
use wasmill_pipeline::version::Version;
use wasmill_pipeline::versions::{Gets, Overseer};

use super::answer::{Done, Named, Outcome, WatchedFor, boundaries, pauses};
use super::drift::{Configured, Drift};
use super::gate::{self, Gate, Refusal};
use super::history::{History, Record, What};
use super::trial::{End, Plan, Trial};
use crate::counters;
use crate::handler::digest::short;
use crate::handler::loader::Loader;

/// Versions that are kept for the way back.
const MAX_PAST_VERSIONS: usize = 10;
/// Beyond the longest call that a lane may be in: how long a swap waits for lanes before it answers.
const LANES_TIMEOUT_SLACK: Duration = Duration::from_secs(5);

/// What is to take over.
pub struct Ask {
    /// The component. `None`: the one that serves, with other settings.
    pub bytes: Option<Vec<u8>>,
    /// The pipeline's settings from then on; only what can change live may differ. `None`: as they are.
    pub settings: Option<config::Pipeline>,
    /// Where the component came from, for people.
    pub source: String,
    /// Who or what asked.
    pub by: String,
    /// Instead of the settings' own.
    pub rollout: Option<config::Rollout>,
}

/// A version that has passed the gate.
pub struct Prepared {
    version: Version,
    by: String,
    rollout: config::Rollout,
    gate: Duration,
}

/// Puts versions in force, one after the other. One for each pipeline.
pub struct Swapper {
    pub(super) shared: Arc<PipelineShared>,
    lanes: Arc<Lanes>,
    loader: Loader,
    /// The cluster, for messages of the past.
    client: ClientSettings,
    /// Held by whoever changes something, from the gate to the answer: others wait their turn, and one compiler runs at
    /// a time.
    pub(super) turn: Mutex<()>,
    pub(super) past: Mutex<Vec<Arc<Version>>>,
    pub(super) history: History,
    /// The trial that is on: of a version beside the one that serves, or of that one itself. Held while something else is
    /// put in force, so that the two are of one moment.
    trial: Mutex<Option<Arc<Trial>>>,
    /// The digest of the configured handler when the process started.
    configured: Mutex<Configured>,
    closed: AtomicBool,
}

impl Swapper {
    /// For a pipeline that was just made. `state`: the folder in which its history is kept.
    pub fn new(
        shared: Arc<PipelineShared>,
        lanes: Arc<Lanes>,
        loader: Loader,
        client: ClientSettings,
        state: Option<&Path>,
        configured: Option<String>,
    ) -> Self {
        let history = History::open(state, &shared.name);
        let digest = shared.deployed().version.digest().to_owned();
        let configured = Configured::new(config::Pipeline::clone(&shared.started_with), configured.unwrap_or(digest));
        Self {
            shared,
            lanes,
            loader,
            client,
            turn: Mutex::default(),
            past: Mutex::default(),
            trial: Mutex::default(),
            history,
            configured: Mutex::new(configured),
            closed: AtomicBool::new(false),
        }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.shared.name
    }

    /// The settings of the version that serves.
    pub fn settings(&self) -> Arc<config::Pipeline> {
        self.shared.deployed().version.settings.clone()
    }

    /// What is in force, and the trial that is on.
    pub fn in_force(&self) -> (Arc<Deployed>, Option<Arc<Trial>>) {
        let trial = self.trial.lock();
        (self.shared.deployed(), trial.clone())
    }

    /// What loads handlers.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// The pipeline begins to run; one that was only prepared has no history.
    pub fn begin(&self) {
        let named = Named::from(&*self.shared.deployed().version);
        let last = self.history.served_last();
        if let Some(last) = last.as_ref().filter(|last| last.digest != named.digest) {
            tracing::warn!(
                pipeline = %self.shared.name, configured = named.digest, before = last.digest, source = last.source,
                "the configuration names another handler than the one that ran before: a swap that it does not know, or a new file"
            );
        }
        self.history.add(Record::now(What::Start, "start", last, named));
    }

    /// The configuration has been taken up: these settings, with a handler of this digest. `None`: which handler runs is
    /// not for the configuration to say.
    pub fn configure(&self, settings: &config::Pipeline, digest: Option<&str>) {
        self.configured.lock().take(settings, digest);
    }

    /// The settings that were last taken from the configuration. Those that serve are others where a version was taken
    /// back.
    pub fn configured(&self) -> config::Pipeline {
        self.configured.lock().settings.clone()
    }

    /// Whether the configuration's handler has this digest since it was last taken up. Then it asks for nothing new,
    /// whatever serves: a version that was taken back must not come again because something else changed, nor a fix that
    /// was swapped in by hand be lost.
    pub fn has_taken(&self, digest: &str) -> bool {
        self.configured.lock().taken == digest
    }

    /// The configured file was taken up with this content.
    pub(super) fn take_up(&self, digest: &str) {
        digest.clone_into(&mut self.configured.lock().taken);
    }

    /// The events so far, the latest last.
    pub fn history(&self) -> Vec<Record> {
        self.history.recent()
    }

    /// Gate, handover and answer.
    ///
    /// # Errors
    /// The gate at which it was refused; the version that served goes on.
    pub fn swap(self: &Arc<Self>, ask: Ask) -> Result<Outcome, Refusal> {
        let _turn = self.turn.lock();
        if ask.bytes.is_some() {
            // Before anything is compiled for nothing.
            self.alone("swap PIPELINE FILE.wasm")?;
        }
        let prepared = self.pass_gate(ask)?;
        self.put_in_force(prepared, None)
    }

    /// The gate alone: a version that is ready to take over.
    ///
    /// # Errors
    /// The gate at which it was refused.
    pub fn prepare(&self, ask: Ask) -> Result<Prepared, Refusal> {
        let _turn = self.turn.lock();
        self.pass_gate(ask)
    }

    /// Hands over to a version that has passed the gate. `epoch`: where the group agreed on it.
    ///
    /// # Errors
    /// Another one is on trial, or its instances do not start after all.
    pub fn switch(self: &Arc<Self>, prepared: Prepared, epoch: Option<u64>) -> Result<Outcome, Refusal> {
        let _turn = self.turn.lock();
        self.put_in_force(prepared, epoch)
    }

    /// Whether this process may change its handler by itself. Where a group agrees on versions, another handler of one
    /// process would be one that nobody agreed on, and partitions would go back and forth between the two.
    fn alone(&self, command: &str) -> Result<(), Refusal> {
        if !self.shared.is_grouped() {
            return Ok(());
        }
        let name = &self.shared.name;
        let command = command.replace("PIPELINE", name);
        let text =
            format!("{name} has a control topic, so its whole group swaps at once; hint: wasmill {command} --group");
        Err(Refusal::at(Gate::Group, text))
    }

    fn pass_gate(&self, ask: Ask) -> Result<Prepared, Refusal> {
        let began = Instant::now();
        let serves = self.shared.deployed().version.clone();
        let settings = ask.settings.map_or_else(|| serves.settings.clone(), Arc::new);
        let to = Named {
            digest: ask.bytes.as_ref().map_or_else(|| serves.digest().to_owned(), |bytes| wasmill_wasm::digest(bytes)),
            source: ask.source.clone(),
        };
        let passed = self.may_begin().and_then(|()| match ask.bytes {
            Some(bytes) => gate::pass(&self.loader, &bytes, &settings, ask.source),
            None => match serves.handler.as_plugin() {
                Some(plugin) => gate::admit(plugin.clone(), &settings, ask.source),
                None => Err(Refusal::at(Gate::Init, "the handler that serves was not loaded from a file".to_owned())),
            },
        });
        let passed = passed.and_then(|version| {
            // What serves already has nothing to prove.
            if version.digest() != serves.digest() {
                gate::backtest(&serves, &version, &self.client)?;
            }
            Ok(version)
        });
        match passed {
            Ok(version) => {
                let rollout = ask.rollout.unwrap_or(settings.swap.rollout);
                let version = version.at(serves.epoch);
                Ok(Prepared { version, by: ask.by, rollout, gate: began.elapsed() })
            }
            Err(refusal) => {
                tracing::warn!(
                    pipeline = %self.shared.name, gate = refusal.gate.as_str(), reason = refusal.reason,
                    digest = to.digest, "handler refused; the one that serves goes on"
                );
                self.refused(&refusal, &ask.by, &serves, to);
                Err(refusal)
            }
        }
    }

    fn refused(&self, refusal: &Refusal, by: &str, serves: &Version, to: Named) {
        self.count("refused");
        let mut record = Record::now(What::Refused, by, Some(serves.into()), to);
        record.reason = Some(refusal.to_string());
        self.history.add(record);
    }

    /// Whether another version may come now.
    fn may_begin(&self) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::at(Gate::Busy, "the pipeline is ending"));
        }
        let trial = self.trial.lock().clone().filter(|trial| trial.is_beside() && !trial.is_over());
        match trial {
            None => Ok(()),
            Some(trial) => Err(Refusal::at(
                Gate::Busy,
                format!(
                    "{} is on trial; hint: wait until that is over, or end it with `wasmill rollback {}`",
                    short(trial.new.digest()),
                    self.shared.name
                ),
            )),
        }
    }

    fn put_in_force(self: &Arc<Self>, prepared: Prepared, epoch: Option<u64>) -> Result<Outcome, Refusal> {
        let serves = self.shared.deployed().version.clone();
        let Prepared { version, by, rollout, gate } = prepared;
        // One that passed the gate before another epoch was agreed on must not bring the one before back.
        let version = Arc::new(version.at(epoch.unwrap_or(serves.epoch)));
        if version.epoch == serves.epoch && version.digest() == serves.digest() && version.settings == serves.settings {
            return Ok(self.outcome(Done::Unchanged, &serves, &version, &self.shared.deployed(), gate, Duration::ZERO));
        }
        if epoch.is_none() && version.digest() != serves.digest() {
            self.alone("swap PIPELINE FILE.wasm")?;
        }
        self.may_begin()?;
        let until = version.settings.swap.rollback;
        if let Err(refusal) = self.stage(&version) {
            self.refused(&refusal, &by, &serves, (&*version).into());
            return Err(refusal);
        }
        let began = Instant::now();
        let (done, what, trial) = match rollout {
            // What a group agreed on is taken back by the group alone.
            config::Rollout::All if epoch.is_some() => (Done::Swapped, What::Swap, None),
            config::Rollout::All => (Done::Swapped, What::Swap, self.watched(&version, &serves)),
            config::Rollout::Canary => (Done::Canary, What::Canary, Some(self.first_step(&version, &serves))),
            config::Rollout::Shadow => (Done::Shadow, What::Shadow, Some(self.beside(&version, &serves))),
        };
        let now = if done == Done::Swapped { version.clone() } else { serves.clone() };
        let deployed = self.hand_over(now, trial.clone());
        if done == Done::Swapped {
            self.remember(serves.clone());
        }
        let mut outcome = self.outcome(done, &serves, &version, &deployed, gate, began.elapsed());
        if outcome.outcome == Done::Swapped && trial.is_some() {
            outcome.watched = until.map(|until| WatchedFor::from(&until));
        }
        self.tell(what, &by, &outcome, None);
        self.follow(trial, by);
        Ok(outcome)
    }

    /// Makes an instance for each lane, beside those that run. None of them waits for this.
    pub(super) fn stage(&self, version: &Arc<Version>) -> Result<(), Refusal> {
        let lanes = self.lanes.all();
        for lane in &lanes {
            match version.handler.start(&handler_spec::spec(&version.settings, lane.index)) {
                Ok(guest) => lane.stage(Staged { version: version.clone(), guest }),
                Err(error) => {
                    lanes.iter().for_each(|lane| drop(lane.unstage()));
                    return Err(Refusal::at(Gate::Init, error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// Puts it in force and waits until every lane has passed on, or is in a call that takes too long to wait for.
    pub(super) fn hand_over(&self, version: Arc<Version>, trial: Option<Arc<Trial>>) -> Arc<Deployed> {
        let time_cap = self.shared.deployed().version.settings.limits.time_cap;
        let (deployed, before) = {
            let mut on = self.trial.lock();
            let deployed = self.lanes.deploy(version, trial.clone().map(|trial| trial as Arc<dyn Overseer>));
            (deployed, std::mem::replace(&mut *on, trial))
        };
        if let Some(trial) = before {
            trial.finish(End::Ended("another version came".to_owned()));
        }
        deployed.handover.wait(Instant::now() + time_cap + LANES_TIMEOUT_SLACK);
        // Of lanes that ended meanwhile.
        if deployed.handover.waits().is_empty() {
            self.lanes.all().iter().for_each(|lane| drop(lane.unstage()));
        }
        for pause in pauses(&deployed) {
            counters::record_pause(&self.shared.name, Duration::from_micros(pause.pause_us));
        }
        deployed
    }

    pub(super) fn remember(&self, version: Arc<Version>) {
        let mut past = self.past.lock();
        if past.len() == MAX_PAST_VERSIONS {
            past.remove(0);
        }
        past.push(version);
    }

    fn count(&self, outcome: &'static str) {
        counters::count_swap(&self.shared.name, outcome);
    }

    pub(super) fn outcome(
        &self,
        outcome: Done,
        from: &Version,
        to: &Version,
        deployed: &Deployed,
        gate: Duration,
        handover: Duration,
    ) -> Outcome {
        let share = deployed.candidate.as_ref().and_then(|candidate| match candidate.gets {
            Gets::Share(split) => Some(split.share.to_string()),
            Gets::Copies => None,
        });
        Outcome {
            pipeline: self.shared.name.clone(),
            outcome,
            from: from.into(),
            to: to.into(),
            serial: deployed.serial,
            share,
            partitions: boundaries(deployed),
            lanes: pauses(deployed),
            waiting: deployed.handover.waits(),
            gate_ms: gate.as_millis() as u64,
            handover_ms: handover.as_millis() as u64,
            watched: None,
        }
    }

    /// To the log and to the history.
    pub(super) fn tell(&self, what: What, by: &str, outcome: &Outcome, reason: Option<&str>) {
        let pause_us = outcome.lanes.iter().map(|lane| lane.pause_us).max();
        let first = outcome.partitions.iter().map(|one| format!("{} @{}", one.partition, one.first_offset));
        tracing::info!(
            pipeline = %self.shared.name, what = ?what, by, from = short(&outcome.from.digest),
            to = short(&outcome.to.digest), share = outcome.share, partitions = first.collect::<Vec<_>>().join(", "),
            pause_us, waiting = outcome.waiting.len(), reason, "swap"
        );
        self.count(match &what {
            What::Swap => "swapped",
            What::Canary => "canary",
            What::Shadow | What::Report => "shadow",
            What::Rollback => "rolled_back",
            What::Start | What::Confirmed | What::Refused | What::Other(_) => "other",
        });
        let mut record = Record::now(what, by, Some(outcome.from.clone()), outcome.to.clone());
        record.partitions.clone_from(&outcome.partitions);
        record.pause_us = pause_us;
        record.reason = reason.map(str::to_owned);
        self.history.add(record);
    }

    /// Goes back to the version before, or ends a trial.
    ///
    /// # Errors
    /// There is none in this process.
    pub fn rollback(self: &Arc<Self>, by: &str) -> Result<Outcome, Refusal> {
        let _turn = self.turn.lock();
        self.alone("rollback PIPELINE")?;
        let (deployed, trial) = self.in_force();
        if let Some(trial) = trial.filter(|trial| trial.is_beside() && !trial.is_over()) {
            trial.finish(End::Ended(format!("ended by {by}")));
            return Ok(self.leave(&trial, by, &format!("ended by {by}")));
        }
        let Some(before) = self.past.lock().pop() else {
            return Err(Refusal::at(
                Gate::Past,
                format!(
                    "{} is the first handler of this process; hint: swap to the file that you want",
                    short(deployed.version.digest())
                ),
            ));
        };
        Ok(self.go_back(&deployed.version, before, by, None))
    }

    /// The pipeline ends: no version comes any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(trial) = &*self.trial.lock() {
            trial.finish(End::Ended("the pipeline ended".to_owned()));
        }
    }

    /// Whether the pipeline ends.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a restart would bring another handler than the one that serves.
    pub fn drift(&self) -> Option<Drift> {
        self.configured.lock().drift(&self.shared.name, &self.shared.deployed().version)
    }
}

/// A plan for a version that has just taken over.
impl Swapper {
    pub(super) fn watched(&self, new: &Arc<Version>, old: &Arc<Version>) -> Option<Arc<Trial>> {
        let until = new.settings.swap.rollback?;
        Some(Arc::new(Trial::new(Plan::Watch, new.clone(), old.clone(), until)))
    }
}
