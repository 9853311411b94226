//! `wasmill reload` and SIGHUP: the file is read again, and the pipelines become what it says, as far as that can be done
//! while they run.
//!
//! Everything that can be known beforehand is asked before anything is touched: the whole file, every topic, every new
//! handler through all its gates. If one thing does not pass, nothing has changed.

use std::collections::BTreeMap;

use wasmill_config as config;
use wasmill_deploy::explain;
use wasmill_deploy::handler::digest::short;
use wasmill_pipeline::End;

use super::launch::Prepared;
use super::live::{self, Ready};
use super::refused::Refused;
use super::running::Running;
use super::shares::Share;
use super::table::Pipelines;
use super::unstarted::Unstarted;
use crate::api::reload::{Done, Reloaded, Row};
use crate::config_file;

/// What is to become of one pipeline of the file.
enum Step {
    /// Said already.
    Nothing(Row),
    /// It runs what the file names, whatever the file named before.
    Agree(Row, Running, Box<config::Pipeline>, String),
    Swap(Row, Box<Change>),
    Start(Box<Prepared>),
    /// Its clients have to be made again.
    Restart(Row, Box<Prepared>),
}

/// A pipeline on its way to other settings.
struct Change {
    ready: Ready,
    before: config::Pipeline,
    now: config::Pipeline,
    /// The digest of the handler that the file names; `None`: that is not for the file to say.
    digest: Option<String>,
}

impl Pipelines {
    /// Reads the file again and does what it says. Waits for pipelines that leave.
    ///
    /// # Errors
    /// The file has mistakes, or something that it asks for does not pass. Nothing was changed then.
    pub fn reload(&self, by: &str) -> Result<Reloaded, Refused> {
        let _change = self.begin();
        let file = self.file()?;
        let new = config_file::read(&file.path)?.config;
        let process =
            config::process_changes(&file.config, &new).into_iter().map(|change| change.key.to_owned()).collect();
        let running = self.handles();
        let goes = |one: &&Running| new.pipelines.iter().all(|pipeline| pipeline.name != one.name());
        let removed: Vec<String> = running.iter().filter(goes).map(|one| one.name().to_owned()).collect();
        let steps = self.plan(&new, &running, &removed, by)?;
        // From here on the running pipelines are touched. What leaves leaves first: what starts may be the same under
        // another name, and must not find the old one in its group.
        let gone = self.remove(&removed);
        for Unstarted { settings, .. } in self.waiting() {
            if new.pipelines.iter().all(|pipeline| *pipeline != settings) {
                self.waiting.forget(&settings.name);
            }
        }
        let mut pipelines: Vec<Row> = steps.into_iter().map(|step| self.take(step)).collect();
        pipelines.extend(gone);
        let done = |row: &Row| !matches!(row.done, Done::NotApplied | Done::Failed);
        let process: Vec<String> = process;
        let applied = process.is_empty() && pipelines.iter().all(done);
        tracing::info!(
            by,
            applied,
            process = process.join(", "),
            pipelines = pipelines.iter().map(line).collect::<Vec<_>>().join("; "),
            "configuration reloaded"
        );
        Ok(Reloaded { applied, pipelines, process })
    }

    /// What is to be done, everything asked that can be asked; or all that stands against it.
    fn plan(
        &self,
        new: &config::Config,
        running: &[Running],
        removed: &[String],
        by: &str,
    ) -> Result<Vec<Step>, Refused> {
        let runs = |name: &str| running.iter().find(|one| one.name() == name);
        // Those that are tried again by themselves keep nothing else from being taken up.
        let waiting = self.waiting();
        let waits = |pipeline: &config::Pipeline| waiting.iter().find(|one| one.settings == *pipeline);
        let added: Vec<_> =
            new.pipelines.iter().filter(|one| runs(&one.name).is_none() && waits(one).is_none()).collect();
        let mut errors = Vec::new();
        let topics = self.launch.ask_for_topics(&added).map_err(|error| errors.push(explain(&error))).ok();
        let removed: Vec<&str> = removed.iter().map(String::as_str).collect();
        let mut shares = self.shares_without(&removed);
        let mut partitions = topics.iter().flat_map(|topics| &topics.partitions);
        let none = BTreeMap::new();
        let rules = topics.as_ref().map_or(&none, |topics| &topics.rules);
        let mut steps = Vec::new();
        for pipeline in &new.pipelines {
            let step = match (runs(&pipeline.name), waits(pipeline)) {
                (Some(running), _) => self.plan_change(running, pipeline, by),
                (None, Some(unstarted)) => {
                    let reason = format!("it cannot start and is tried again: {}", unstarted.reason);
                    Ok(Step::Nothing(Row { reason: Some(reason), ..Row::new(&pipeline.name, Done::Failed) }))
                }
                (None, None) => {
                    let partitions = partitions.next().copied().unwrap_or_default();
                    let share = Share::beside(self.launch.memory_bytes, &shares, partitions);
                    shares.push(share);
                    self.launch.prepare(pipeline, share, rules).map(|prepared| Step::Start(Box::new(prepared)))
                }
            };
            match step {
                Ok(step) => steps.push(step),
                Err(error) => errors.push(explain(&error)),
            }
        }
        if errors.is_empty() { Ok(steps) } else { Err(Refused::of(errors.join("\n"))) }
    }

    /// What is to become of a pipeline that runs.
    fn plan_change(&self, running: &Running, new: &config::Pipeline, by: &str) -> anyhow::Result<Step> {
        // As the file had it, and not as it serves: what was taken back is not brought again.
        let before = running.swapper.configured();
        let mut changes = config::changes(&before, new);
        let fixed: Vec<_> = changes.iter().filter(|change| !change.live).map(|change| change.key.to_owned()).collect();
        if !fixed.is_empty() {
            // Half of what the file says would be what nobody wrote.
            let mut row = Row::new(&new.name, Done::NotApplied);
            row.keys = fixed;
            row.reason = Some(format!("a running pipeline cannot take that up; hint: wasmill restart {}", new.name));
            return Ok(Step::Nothing(row));
        }
        let replaced = self.replaced_credentials(&new.name);
        if !replaced.is_empty() {
            let mut row = Row::new(&new.name, Done::Restarted);
            row.keys = replaced;
            row.keys.extend(changes.iter().map(|change| change.key.to_owned()));
            return Ok(Step::Restart(row, Box::new(self.prepare_again(new)?)));
        }
        let live::Named { digest, bytes } = live::named(running, new)?;
        if bytes.is_some() && changes.iter().all(|change| change.key != "handler") {
            changes.push(config::Change { key: "handler", live: true });
        }
        let other = other_serves(running, new, digest.as_deref().filter(|_| bytes.is_none()));
        if changes.is_empty() {
            let mut row = Row::new(&new.name, Done::Unchanged);
            row.reason = other;
            return Ok(match digest {
                Some(digest) => Step::Agree(row, running.clone(), Box::new(new.clone()), digest),
                None => Step::Nothing(row),
            });
        }
        let ready = live::prepare(running, new, bytes, by)?;
        let mut row = Row::new(&new.name, Done::Swapped);
        row.reason = other;
        row.keys = changes.iter().map(|change| change.key.to_owned()).collect();
        Ok(Step::Swap(row, Box::new(Change { ready, before, now: new.clone(), digest })))
    }

    /// Has pipelines drain and leave, all at a time, and waits for them.
    fn remove(&self, names: &[String]) -> Vec<Row> {
        let asked: Vec<_> = names.iter().map(|name| (name, self.stop(name))).collect();
        let row = |(name, ended): (&String, Option<tokio::sync::oneshot::Receiver<End>>)| {
            let mut row = Row::new(name, Done::Removed);
            row.reason = ended.and_then(|ended| unsettled(ended.blocking_recv().ok()));
            tracing::info!(pipeline = name, reason = row.reason, "pipeline removed");
            row
        };
        asked.into_iter().map(row).collect()
    }

    /// Does one step.
    fn take(&self, step: Step) -> Row {
        match step {
            Step::Nothing(row) => row,
            Step::Agree(row, running, settings, digest) => {
                running.swapper.configure(&settings, Some(&digest));
                row
            }
            Step::Swap(mut row, change) => {
                let Change { ready, before, now, digest } = *change;
                let running = ready.running().clone();
                let switched = ready.switch().and_then(|swap| {
                    row.swap = Some(swap);
                    self.reconfigured(&running, &before, &now, digest.as_deref())
                });
                if let Err(error) = switched {
                    (row.done, row.reason) = (Done::Failed, Some(explain(&error)));
                }
                row
            }
            Step::Restart(mut row, prepared) => {
                row.reason = self.leave(&row.pipeline);
                if let Err(error) = self.add(*prepared) {
                    (row.done, row.reason) = (Done::Failed, Some(explain(&error)));
                }
                row
            }
            Step::Start(prepared) => {
                let mut row = Row::new(prepared.task.running().name(), Done::Started);
                if let Err(error) = self.add(*prepared) {
                    (row.done, row.reason) = (Done::Failed, Some(explain(&error)));
                }
                row
            }
        }
    }

    /// SIGHUP: the same, and the log is the answer.
    pub fn reload_on_signal(&self) {
        match self.reload("SIGHUP") {
            Ok(reloaded) if reloaded.applied => {}
            Ok(reloaded) => {
                let left: Vec<_> = reloaded.pipelines.iter().filter(|row| row.reason.is_some()).map(line).collect();
                tracing::warn!(
                    pipelines = left.join("; "),
                    process = reloaded.process.join(", "),
                    "not all of the configuration was applied; what stands outside the pipelines needs a new process"
                );
            }
            Err(refused) => {
                tracing::error!(reason = refused.error, "configuration not reloaded; everything goes on as before")
            }
        }
    }

    /// Whether the process is ending.
    pub(super) fn is_closing(&self) -> bool {
        self.entries.lock().closing
    }
}

/// That another handler serves than the file names, and goes on: `named` is the digest of the file's.
fn other_serves(running: &Running, settings: &config::Pipeline, named: Option<&str>) -> Option<String> {
    let deployed = running.pipeline.shared.deployed();
    let (serves, named) = (&deployed.version, named.filter(|named| *named != deployed.version.digest())?);
    let (name, handler) = (&settings.name, &settings.handler);
    Some(format!(
        "{} of {} goes on: the file names {} of {handler} as before, in whose place it was put; hint: wasmill swap \
         {name} {handler}",
        short(serves.digest()),
        serves.source,
        short(named)
    ))
}

/// What a pipeline left behind that was asked to end, if it left something.
pub(super) fn unsettled(end: Option<End>) -> Option<String> {
    match end {
        Some(End::Drained) => None,
        Some(End::Overdue) => {
            Some("not everything was settled in time; it is handled again by the next owner".to_owned())
        }
        Some(End::Fenced(reason) | End::Failed(reason)) => Some(format!("it failed while it ended: {reason}")),
        None => Some("the process is ending".to_owned()),
    }
}

/// `orders: not applied (members)`, for the log.
fn line(row: &Row) -> String {
    let keys = if row.keys.is_empty() { String::new() } else { format!(" ({})", row.keys.join(", ")) };
    let reason = row.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    format!("{} {}{keys}{reason}", row.pipeline, row.done.as_str())
}
