//! A pipeline's status as `/api/v1/status` answers it and `wasmill status` prints it. Field names are part of the
//! interface; units are in them.

use serde::Serialize;
use wasmill_deploy::swap::swapper::Drift;
use wasmill_deploy::swap::trial::{Plan, Trial};
use wasmill_pipeline::status::{PipelineStatus as Parts, ServingStatus, WorkStatus};

use super::running::Running;

/// A pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineStatus {
    /// What serves.
    #[serde(flatten)]
    pub serving: ServingStatus,
    /// A version that is on trial, beside the one that serves or as it.
    pub trial: Option<TrialStatus>,
    /// A restart would bring another handler.
    pub drift: Option<Drift>,
    /// What it agrees on with the other processes of its group.
    pub control: Option<ControlStatus>,
    /// How its work goes.
    #[serde(flatten)]
    pub work: WorkStatus,
}

/// A pipeline with a control topic.
#[derive(Debug, Clone, Serialize)]
pub struct ControlStatus {
    /// The name of this process.
    pub process: String,
    /// The epoch of the version that serves here; zero: the group has not swapped yet.
    pub epoch: u64,
    /// The epoch that the group agreed on.
    pub agreed: u64,
}

/// A version on trial.
#[derive(Debug, Clone, Serialize)]
pub struct TrialStatus {
    /// Digest of its plugin.
    pub plugin: String,
    /// Where it came from.
    pub source: String,
    /// `canary`, `shadow`, or `watch`: it serves, and is taken back if it goes beyond its budget.
    pub rollout: &'static str,
    /// What a canary gets.
    pub share: Option<String>,
    /// Messages that it is done with in this step.
    pub messages: u64,
    /// Those of them that it gave up.
    pub given_up: u64,
    /// Its calls that ended without an answer.
    pub crashes: u64,
    /// Messages of which a shadow made something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differing: Option<u64>,
}

impl TrialStatus {
    fn of(trial: &Trial) -> Option<Self> {
        let seen = trial.seen();
        let rollout = match trial.plan() {
            Plan::Canary(_) => "canary",
            Plan::Shadow { .. } => "shadow",
            Plan::Watch => "watch",
        };
        (!trial.is_over()).then(|| Self {
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
}

impl Running {
    /// The status of this moment.
    pub fn status(&self) -> PipelineStatus {
        let (deployed, trial) = self.swapper.in_force();
        let Parts { serving, work } = self.pipeline.status(&deployed);
        PipelineStatus {
            serving,
            trial: trial.as_deref().and_then(TrialStatus::of),
            drift: self.swapper.drift(),
            control: self.group.as_ref().map(|group| {
                let (process, agreed) = group.standing();
                ControlStatus { process, epoch: deployed.version.epoch, agreed }
            }),
            work,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_object_whose_fields_keep_their_order() {
        let status = PipelineStatus {
            serving: ServingStatus {
                name: "a".to_owned(),
                group: "g".to_owned(),
                topics: vec!["t".to_owned()],
                plugin: "d".to_owned(),
                source: "s".to_owned(),
                swaps: 1,
            },
            trial: None,
            drift: None,
            control: None,
            work: WorkStatus {
                generations: 2,
                ready: true,
                held: None,
                producer: None,
                topics_gone: Vec::new(),
                outputs_in_flight: 3,
                members: Vec::new(),
                lanes: Vec::new(),
                partitions: Vec::new(),
            },
        };
        assert_eq!(
            serde_json::to_string(&status).expect("it is plain data"),
            r#"{"name":"a","group":"g","topics":["t"],"plugin":"d","source":"s","swaps":1,"trial":null,"drift":null,"#
                .to_owned()
                + r#""control":null,"generations":2,"ready":true,"held":null,"producer":null,"topics_gone":[],"#
                + r#""outputs_in_flight":3,"members":[],"lanes":[],"partitions":[]}"#
        );
    }
}
