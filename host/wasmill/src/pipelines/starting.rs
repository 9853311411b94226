//! Pipelines that could not start while others could (`on_start_failure = "start_others"`): they are tried again, each for
//! itself, with a growing pause.

use std::sync::Arc;

use wasmill_config as config;
use wasmill_deploy::explain;

use super::shares::Share;
use super::table::Pipelines;
use super::unstarted::Unstarted;

impl Pipelines {
    /// Starts each pipeline for itself.
    ///
    /// # Errors
    /// None can start; why the first one cannot.
    pub(super) fn start_what_can(&self, pipelines: &[&config::Pipeline]) -> anyhow::Result<()> {
        let mut first = None;
        for settings in pipelines {
            if let Err(error) = self.start_one(settings) {
                let reason = explain(&error);
                tracing::error!(pipeline = %settings.name, reason, "pipeline cannot start; it is tried again, and the others go on");
                self.waiting.add(settings, &reason);
                first.get_or_insert(error);
            }
        }
        match first {
            Some(error) if self.handles().is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    fn start_one(&self, settings: &config::Pipeline) -> anyhow::Result<()> {
        let topics = self.launch.ask_for_topics(&[settings])?;
        let partitions = topics.partitions.first().copied().unwrap_or_default();
        let share = Share::beside(self.launch.memory_bytes, &self.shares_without(&[&settings.name]), partitions);
        self.add(self.launch.prepare(settings, share, &topics.rules)?)
    }

    /// Tries those that wait, on a thread of its own, until the process ends.
    pub(super) fn try_again(self: Arc<Self>) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name("start-again".to_owned());
        let run = move || {
            while let Some(Unstarted { settings, .. }) = self.waiting.due() {
                let _change = self.begin();
                // A reload may have started it, or taken it out, while this waited for its turn.
                if !self.waiting.all().iter().any(|one| one.settings == settings) {
                    continue;
                }
                match self.start_one(&settings) {
                    Ok(()) => {
                        self.waiting.forget(&settings.name);
                        tracing::info!(pipeline = %settings.name, "pipeline starts after all");
                    }
                    Err(error) => {
                        let reason = explain(&error);
                        if self.waiting.failed(&settings.name, &reason) {
                            tracing::error!(pipeline = %settings.name, reason, "pipeline cannot start; it is tried again");
                        }
                    }
                }
            }
        };
        thread.spawn(run).map(drop)
    }
}
