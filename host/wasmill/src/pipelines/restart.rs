//! `wasmill restart`: one pipeline drains, leaves its group and starts again with what the file says now. The others go
//! on.

use wasmill_config as config;
use wasmill_deploy::explain;

use super::launch::Prepared;
use super::refused::Refused;
use super::reload::unsettled;
use super::shares::Share;
use super::table::Pipelines;
use crate::api::restart::{Left, Restarted};
use crate::config_file;

impl Pipelines {
    /// Starts a pipeline again. The new one has passed everything before the old one is asked to leave.
    ///
    /// # Errors
    /// The file has mistakes, has no such pipeline any more, or the pipeline does not pass; the running one goes on then.
    pub fn restart(&self, name: &str, by: &str) -> Result<Restarted, Refused> {
        let _change = self.begin();
        let file = self.file()?;
        let Some(old) = self.handle(name) else {
            return Err(Refused::of(format!("no pipeline `{name}` runs; there is {}", self.names())));
        };
        let new = config_file::read(&file.path)?.config;
        let Some(settings) = new.pipelines.iter().find(|pipeline| pipeline.name == name) else {
            return Err(Refused::of(format!(
                "pipeline `{name}` is not in {} any more; hint: wasmill reload removes it",
                file.path.display()
            )));
        };
        let prepared = self.prepare_again(settings).map_err(|error| Refused::of(explain(&error)))?;
        if self.is_closing() {
            return Err(Refused::of("the process is ending"));
        }
        let keys =
            config::changes(&super::live::settings(&old), settings).into_iter().map(|change| change.key.to_owned());
        // What it holds when it is asked; what comes to it later it commits as well.
        let held: Vec<_> = old.pipeline.partitions().iter().filter_map(|id| old.pipeline.partition(id)).collect();
        let reason = self.leave(name);
        let left = held.iter().map(|partition| Left {
            partition: partition.id.to_string(),
            committed: partition.lock().committed().map(|committed| committed.get()),
        });
        let restarted = Restarted {
            pipeline: name.to_owned(),
            keys: keys.collect(),
            settled: reason.is_none(),
            reason,
            left: left.collect(),
            process: config::process_changes(&file.config, &new)
                .into_iter()
                .map(|change| change.key.to_owned())
                .collect(),
        };
        self.add(prepared).map_err(|error| Refused::of(explain(&error)))?;
        tracing::info!(pipeline = name, by, settled = restarted.settled, "pipeline restarted");
        Ok(restarted)
    }

    /// The successor of a pipeline that runs, which has passed everything and may follow it.
    ///
    /// # Errors
    /// What does not pass.
    pub(super) fn prepare_again(&self, settings: &config::Pipeline) -> anyhow::Result<Prepared> {
        let topics = self.launch.ask_for_topics(&[settings])?;
        let partitions = topics.partitions.first().copied().unwrap_or_default();
        let share = Share::beside(self.launch.memory_bytes, &self.shares_without(&[&settings.name]), partitions);
        self.launch.prepare(settings, share, &topics.rules)
    }

    /// Has a pipeline drain and leave, waits for it, and says what it left unsettled.
    pub(super) fn leave(&self, name: &str) -> Option<String> {
        unsettled(self.stop(name)?.blocking_recv().ok())
    }
}
