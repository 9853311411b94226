//! The status of a pipeline, put together of what is asked of its parts. Its fields are in `api::status`.

use wasmill_deploy::swap::trial::{Plan, Trial};
use wasmill_pipeline::status::PipelineStatus as Parts;

use super::running::Running;
use crate::api::status::{self, ControlStatus, PipelineStatus, TrialStatus};

impl Running {
    /// The status of this moment.
    pub fn status(&self) -> PipelineStatus {
        let (deployed, trial) = self.swapper.in_force();
        let Parts { serving, work } = self.pipeline.status(&deployed);
        PipelineStatus {
            serving,
            trial: trial.as_deref().and_then(trial_status),
            drift: self.swapper.drift(),
            control: self.group.as_ref().map(|group| {
                let (process, agreed) = group.standing();
                ControlStatus { process, epoch: deployed.version.epoch, agreed }
            }),
            work,
        }
    }
}

/// What there is to say of a trial that is not over.
fn trial_status(trial: &Trial) -> Option<TrialStatus> {
    let seen = trial.seen();
    let rollout = match trial.plan() {
        Plan::Canary(_) => status::Trial::Canary,
        Plan::Shadow { .. } => status::Trial::Shadow,
        Plan::Watch => status::Trial::Watch,
    };
    (!trial.is_over()).then(|| TrialStatus {
        plugin: trial.new.digest().to_owned(),
        source: trial.new.source.clone(),
        rollout,
        share: trial.split().map(|split| split.share.to_string()),
        messages: seen.messages,
        given_up: seen.given_up,
        crashes: seen.crashes,
        differing: matches!(trial.plan(), Plan::Shadow { .. }).then(|| trial.report().summary.differing),
    })
}
