//! `wasmill swap`.

use std::time::{Duration, Instant};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use wasmill_config::{self as config, Rollout};
use wasmill_deploy::handler::digest::short;
use wasmill_deploy::handler::loader::{Fetched, Loader};
use wasmill_deploy::oci::Offline;
use wasmill_deploy::swap::answer::{Done, Outcome};
use wasmill_deploy::swap::history::{Record, What};
use wasmill_wasm::EngineOptions;

use super::output::{Sent, answer, print};
use super::target::{ANSWER, PATIENCE, Target};
use super::versions::{Waiting, event, on_trial, told, user, watched_for};
use crate::api::history::{self, History};
use crate::api::of_pipeline;
use crate::api::status::{self, Status, Trial, TrialStatus};
use crate::api::swap::{Asked, SWAP, Swapped};
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};

/// How often a trial is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A version that serves for so long without being watched stays.
const UNWATCHED: Duration = Duration::from_secs(3);

const SWAP_HELP: &str = "The new handler is compiled and tried beside the old one; if anything is wrong with it, the old one goes on. \
Otherwise it takes over between two batches of each partition, and the answer names the first offset that it gets. \
It is watched for a while then, and taken back by itself if it is worse than the old one (swap.rollback, swap.budget): \
with --wait the command ends when that is over. \
Exit codes: 0 it took over, and with --wait it stays; 1 it was refused or taken back; 2 wrong command line.";

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
    /// Wait until the new handler is no longer watched either, and tell whether it stays
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Replace it in every process of the consumer group, or in none (swap.control_topic)
    #[arg(long, conflicts_with_all = ["rollout", "no_wait", "wait"])]
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
            Swapped::Here(Outcome { outcome: Done::Swapped, watched: Some(watched), to, .. }) if self.wait => {
                if !self.json {
                    print(&format!("{} {}\n", short(&to.digest), watched_for(watched)))?;
                }
                self.follow(&to.digest)
            }
            told_at_once => answer(self.json, &swapped, || told(told_at_once)),
        }
    }

    /// Waits until the trial of this version is over, and tells what came of it.
    fn follow(&self, version: &str) -> Result<Exit, Failure> {
        let mut said = String::new();
        let mut unsaid_since = None;
        loop {
            std::thread::sleep(LOOK);
            let status: Status = self.target.get(status::PATH)?;
            if let Some(trial) = trial_of(&status, &self.pipeline, version, self.wait) {
                let says = on_trial(trial);
                if !self.json && says != said {
                    print(&format!("{says}\n"))?;
                    said = says;
                }
                unsaid_since = None;
                continue;
            }
            let history: History<Sent<Record>> =
                self.target.get_private(&of_pipeline(history::PATH, &self.pipeline))?;
            let waited = unsaid_since.get_or_insert_with(Instant::now).elapsed();
            // Where nothing is watched (swap.rollback = false) a canary ends with taking over.
            let watch = self.wait && !(waited > UNWATCHED && serves(&status, &self.pipeline, version));
            if let Some(end) = history.history.iter().rfind(|one| ends_trial(&one.read, version, watch)) {
                answer(self.json, end, || event(&end.read) + "\n")?;
                return Ok(if stays(&end.read, version) { Exit::Done } else { Exit::Failed });
            }
            // Lanes hand over before the history is written, which takes as long as a call.
            if waited > ANSWER {
                return Err(anyhow::anyhow!("the trial ended and the history does not say how").into());
            }
        }
    }
}

fn serves(status: &Status, pipeline: &str, version: &str) -> bool {
    status.pipelines.iter().any(|one| one.serving.name == pipeline && one.serving.plugin == version)
}

/// The trial of this version, while it is on: beside the one that serves, and with `watch` also once it has taken over.
fn trial_of<'a>(status: &'a Status, pipeline: &str, version: &str, watch: bool) -> Option<&'a TrialStatus> {
    let pipeline = status.pipelines.iter().find(|one| one.serving.name == pipeline)?;
    let on = |trial: &&TrialStatus| match trial.rollout {
        Trial::Canary | Trial::Shadow => true,
        Trial::Watch => watch,
        Trial::Other(_) => false,
    };
    pipeline.trial.as_ref().filter(on).filter(|trial| trial.plugin == version)
}

/// Whether this event is how the trial of a version ended: it took over, was reported on, or was taken back. With `watch`
/// it has not ended by taking over, but when it was watched long enough, or another one came.
fn ends_trial(one: &Record, version: &str, watch: bool) -> bool {
    let (to, from) = (one.to.digest == version, one.from.as_ref().is_some_and(|from| from.digest == version));
    match one.what {
        What::Rollback => from || (to && !watch),
        What::Confirmed | What::Report => to,
        What::Swap => {
            if watch {
                from
            } else {
                to
            }
        }
        What::Start | What::Refused => to && !watch,
        What::Canary | What::Shadow | What::Other(_) => false,
    }
}

/// Whether the version serves after this end of its trial, or was only to be compared.
fn stays(end: &Record, version: &str) -> bool {
    end.what == What::Report || (end.what != What::Rollback && end.to.digest == version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::history::tests::record;
    use crate::api::status::tests::status;

    #[test]
    fn a_trial_is_followed_while_it_is_this_version_beside_another() {
        let mut status = status();
        assert!(trial_of(&status, "orders", "b", false).is_some());
        assert!(trial_of(&status, "orders", "a", false).is_none());
        assert!(trial_of(&status, "invoices", "b", false).is_none());
        // It took over.
        status.pipelines[0].trial.as_mut().expect("a trial").rollout = Trial::Watch;
        assert!(trial_of(&status, "orders", "b", false).is_none());
        assert!(trial_of(&status, "orders", "b", true).is_some(), "who waits for the end waits for this as well");
    }

    #[test]
    fn a_trial_ends_with_an_event_about_its_version_or_with_the_way_back_from_it() {
        let event = |what| Record { what, ..record() };
        // They lead from `b` to `a`.
        for watch in [false, true] {
            assert!(ends_trial(&event(What::Rollback), "b", watch) && !stays(&event(What::Rollback), "b"));
            assert!(ends_trial(&event(What::Report), "a", watch) && stays(&event(What::Report), "a"));
            assert!(ends_trial(&event(What::Confirmed), "a", watch) && stays(&event(What::Confirmed), "a"));
            assert!(!ends_trial(&event(What::Canary), "a", watch) && !ends_trial(&event(What::Shadow), "a", watch));
        }
        assert!(ends_trial(&event(What::Swap), "a", false) && stays(&event(What::Swap), "a"));
        assert!(!ends_trial(&event(What::Swap), "b", false));
        // It took over, and is watched; another came in its place.
        assert!(!ends_trial(&event(What::Swap), "a", true));
        assert!(ends_trial(&event(What::Swap), "b", true) && !stays(&event(What::Swap), "b"));
    }
}
