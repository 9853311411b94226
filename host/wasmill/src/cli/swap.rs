//! `wasmill swap`.

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use wasmill_config::{self as config, Rollout};
use wasmill_deploy::handler::loader::{Fetched, Loader};
use wasmill_deploy::oci::Offline;
use wasmill_deploy::swap::answer::{Done, Outcome};
use wasmill_deploy::swap::history::{Record, What};
use wasmill_wasm::EngineOptions;

use super::output::{Sent, answer, print};
use super::target::{PATIENCE, Target};
use super::versions::{Waiting, event, on_trial, told, user};
use crate::api::history::{self, History};
use crate::api::of_pipeline;
use crate::api::status::{self, Status, Trial, TrialStatus};
use crate::api::swap::{Asked, SWAP, Swapped};
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};

/// How often a trial is looked at.
const LOOK: Duration = Duration::from_millis(500);

const SWAP_HELP: &str = "The new handler is compiled and tried beside the old one; if anything is wrong with it, the old one goes on. \
Otherwise it takes over between two batches of each partition, and the answer names the first offset that it gets. \
It is watched for a while then, and taken back by itself if it is worse than the old one (swap.rollback, swap.budget). \
Exit codes: 0 it took over; 1 it was refused or taken back; 2 wrong command line.";

/// Replace the handler of a running pipeline while messages flow
#[derive(Debug, clap::Args)]
#[command(after_help = SWAP_HELP)]
pub struct Swap {
    /// The pipeline's name
    pipeline: String,
    /// The new handler: a file, or oci://host/name:tag, which is fetched here and now
    handler: config::Handler,
    /// For which messages first, instead of the configuration's swap.rollout
    #[arg(long, value_parser = rollouts())]
    rollout: Option<Rollout>,
    /// Do not wait for the end of a canary or a shadow
    #[arg(long)]
    no_wait: bool,
    /// Replace it in every process of the consumer group, or in none (swap.control_topic)
    #[arg(long, conflicts_with_all = ["rollout", "no_wait"])]
    group: bool,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// The rollouts, with what they are in a help text.
fn rollouts() -> impl TypedValueParser<Value = Rollout> {
    let help = |rollout| match rollout {
        Rollout::All => "For all at once",
        Rollout::Canary => "For a share that grows",
        Rollout::Shadow => "For none: beside the old one, unheard",
    };
    let values = Rollout::ALL.map(|rollout| PossibleValue::new(rollout.as_str()).help(help(rollout)));
    PossibleValuesParser::new(values).try_map(|text| text.parse::<Rollout>())
}

impl Swap {
    /// Sends the handler and tells what came of it.
    pub fn run(self) -> Result<Exit, Failure> {
        let most = EngineOptions::default().plugin_bytes;
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        // What a tag meant when the registry last answered is not what is asked for now.
        let Fetched { bytes, source: name, .. } = match &self.handler {
            file @ config::Handler::File(_) => loader.fetch(file, most, Offline::Refused).map_err(Failure::usage)?,
            artifact => loader.fetch(artifact, most, Offline::Refused)?,
        };
        let asked = Asked { source: Some(name), by: Some(user()), rollout: self.rollout, group: self.group };
        let path = of_pipeline(SWAP, &self.pipeline);
        let _waiting = self.group.then(|| Waiting::of(&self.pipeline));
        let swapped: Sent<Swapped> = self.target.send(&path, &asked.query(), PATIENCE, "application/wasm", &bytes)?;
        match &swapped.read {
            Swapped::Here(Outcome { outcome: Done::Canary | Done::Shadow, to, .. }) if !self.no_wait => {
                if !self.json {
                    print(&told(&swapped.read))?;
                }
                self.follow(&to.digest)
            }
            told_at_once => answer(self.json, &swapped, || told(told_at_once)),
        }
    }

    /// Waits until the trial of this version is over, and tells what came of it.
    fn follow(&self, version: &str) -> Result<Exit, Failure> {
        let mut said = String::new();
        loop {
            std::thread::sleep(LOOK);
            let status: Status = self.target.get(status::PATH)?;
            let Some(trial) = trial_of(&status, &self.pipeline, version) else { break };
            let says = on_trial(trial);
            if !self.json && says != said {
                print(&format!("{says}\n"))?;
                said = says;
            }
        }
        let history: History<Sent<Record>> = self.target.get(&of_pipeline(history::PATH, &self.pipeline))?;
        let Some(end) = history.history.iter().rfind(|one| ends_trial(&one.read, version)) else {
            return Err(anyhow::anyhow!("the trial ended and the history does not say how").into());
        };
        answer(self.json, end, || event(&end.read) + "\n")?;
        Ok(if end.read.what == What::Rollback { Exit::Failed } else { Exit::Done })
    }
}

/// The trial of this version beside the one that serves, while it is on.
fn trial_of<'a>(status: &'a Status, pipeline: &str, version: &str) -> Option<&'a TrialStatus> {
    let pipeline = status.pipelines.iter().find(|one| one.serving.name == pipeline)?;
    let beside = |trial: &&TrialStatus| matches!(trial.rollout, Trial::Canary | Trial::Shadow);
    pipeline.trial.as_ref().filter(beside).filter(|trial| trial.plugin == version)
}

/// Whether this event is how the trial of a version ended: it took over, was reported on, or was taken back.
fn ends_trial(one: &Record, version: &str) -> bool {
    (one.to.digest == version && !matches!(one.what, What::Canary | What::Shadow))
        || (one.from.as_ref().is_some_and(|from| from.digest == version) && one.what == What::Rollback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::history::tests::record;
    use crate::api::status::tests::status;

    #[test]
    fn a_trial_is_followed_while_it_is_this_version_beside_another() {
        let mut status = status();
        assert!(trial_of(&status, "orders", "b").is_some());
        assert!(trial_of(&status, "orders", "a").is_none());
        assert!(trial_of(&status, "invoices", "b").is_none());
        // It took over.
        status.pipelines[0].trial.as_mut().expect("a trial").rollout = Trial::Watch;
        assert!(trial_of(&status, "orders", "b").is_none());
    }

    #[test]
    fn a_trial_ends_with_an_event_about_its_version_or_with_the_way_back_from_it() {
        let event = |what| Record { what, ..record() };
        // They lead from `b` to `a`.
        assert!(ends_trial(&event(What::Rollback), "b"));
        assert!(!ends_trial(&event(What::Swap), "b"));
        assert!(ends_trial(&event(What::Swap), "a"));
        assert!(ends_trial(&event(What::Report), "a"));
        assert!(!ends_trial(&event(What::Canary), "a") && !ends_trial(&event(What::Shadow), "a"));
    }
}
