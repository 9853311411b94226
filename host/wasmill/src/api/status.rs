//! The status. What it says of a pipeline's work is in `wasmill_pipeline::status`. Field names are part of the
//! interface; units are in them.

use serde::{Deserialize, Serialize};
use wasmill_deploy::swap::drift::Drift;
use wasmill_pipeline::status::{ServingStatus, WorkStatus};

/// Where it is asked for.
pub const PATH: &str = "/api/v1/status";

/// The whole status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Of wasmill.
    pub version: String,
    /// How long the process runs.
    pub uptime_seconds: u64,
    /// Whether all pipelines do their work.
    pub ready: bool,
    /// The pipelines.
    pub pipelines: Vec<PipelineStatus>,
}

/// A pipeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ControlStatus {
    /// The name of this process.
    pub process: String,
    /// The epoch of the version that serves here; zero: the group has not swapped yet.
    pub epoch: u64,
    /// The epoch that the group agreed on.
    pub agreed: u64,
}

/// A version on trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Digest of its plugin.
    pub plugin: String,
    /// Where it came from.
    pub source: String,
    /// How it is tried.
    pub rollout: Trial,
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

/// How a version is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trial {
    /// It gets a share of the messages.
    Canary,
    /// It gets copies, and nothing that it emits is sent.
    Shadow,
    /// It serves, and is taken back if it goes beyond its budget.
    Watch,
    /// A word of a later version.
    #[serde(untagged)]
    Other(String),
}

impl Trial {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Canary => "canary",
            Self::Shadow => "shadow",
            Self::Watch => "watch",
            Self::Other(word) => word,
        }
    }
}

#[cfg(test)]
pub mod tests {
    use wasmill_core::partition::State;
    use wasmill_pipeline::conditions::Condition;
    use wasmill_pipeline::failures::{FailedStatus, LastFailure};
    use wasmill_pipeline::status::{LaneStatus, MemberStatus, PartitionState, PartitionStatus, ProducerStatus};

    use super::*;

    /// A status in which everything is said that can be said, but for optional fields of the partition.
    pub fn status() -> Status {
        Status {
            version: "1".to_owned(),
            uptime_seconds: 5,
            ready: false,
            pipelines: vec![PipelineStatus {
                serving: ServingStatus {
                    name: "orders".to_owned(),
                    group: "g".to_owned(),
                    topics: vec!["in".to_owned()],
                    plugin: "a".to_owned(),
                    source: "a.wasm".to_owned(),
                    swaps: 1,
                },
                trial: Some(trial()),
                drift: Some(Drift {
                    configured: "a".to_owned(),
                    other: "b".to_owned(),
                    reason: "r".to_owned(),
                    cause: wasmill_deploy::swap::drift::Cause::Swap,
                }),
                control: Some(ControlStatus { process: "p".to_owned(), epoch: 3, agreed: 4 }),
                work: work(),
            }],
        }
    }

    /// A shadow.
    pub fn trial() -> TrialStatus {
        TrialStatus {
            plugin: "b".to_owned(),
            source: "b.wasm".to_owned(),
            rollout: Trial::Shadow,
            share: None,
            messages: 10,
            given_up: 1,
            crashes: 2,
            differing: Some(3),
        }
    }

    /// One that begins in a far future, so that it is shown as new.
    fn condition(code: &str, subject: &str, not_ready: bool, hint: Option<&str>) -> Condition {
        let (code, subject, hint) = (code.to_owned(), subject.to_owned(), hint.map(str::to_owned));
        Condition { code, subject, not_ready, since_ms: 9_999_999_999_999, reason: "why".to_owned(), hint }
    }

    fn work() -> WorkStatus {
        WorkStatus {
            generations: 2,
            ready: false,
            degraded: false,
            conditions: vec![
                condition("breaker-open", "", true, None),
                condition("partition-stopped", "in/2", false, Some("x")),
            ],
            held: Some("h".to_owned()),
            producer: Some(ProducerStatus { reason: "p".to_owned(), failures: 3, next_in_ms: 1200 }),
            topics_gone: vec!["in".to_owned()],
            failed: FailedStatus {
                messages: 7,
                last: Some(LastFailure {
                    topic: "in".to_owned(),
                    partition: 2,
                    offset: 4,
                    class: "rejected".to_owned(),
                    reason: "no".to_owned(),
                    at_ms: 1000,
                }),
            },
            outputs_in_flight: 3,
            members: vec![MemberStatus {
                member: 0,
                state: "polling".to_owned(),
                joined: true,
                partitions: 1,
                commit_error: None,
                commit_failures: 0,
                silent_ms: 4,
            }],
            lanes: vec![LaneStatus { lane: 1, partitions: 1, memory_bytes: 65536, recycled: 0, trouble: None }],
            partitions: vec![PartitionStatus {
                topic: "in".to_owned(),
                partition: 2,
                member: 0,
                lane: Some(1),
                generation: 1,
                state: State::Stopped.into(),
                position: 5,
                watermark: 4,
                committed: Some(4),
                end: None,
                lag: None,
                span_messages: 1,
                span_bytes: 10,
                failed_messages: 7,
                offset: Some(4),
                attempt: None,
                next_attempt_in_ms: None,
                reason: Some("given up".to_owned()),
            }],
        }
    }

    /// As it is sent: fields in the order in which people look for them.
    pub const STATUS: &str = r#"{"version":"1","uptime_seconds":5,"ready":false,"pipelines":[{"name":"orders","group":"g","topics":["in"],"plugin":"a","source":"a.wasm","swaps":1,"trial":{"plugin":"b","source":"b.wasm","rollout":"shadow","share":null,"messages":10,"given_up":1,"crashes":2,"differing":3},"drift":{"configured":"a","other":"b","reason":"r","cause":"swap"},"control":{"process":"p","epoch":3,"agreed":4},"generations":2,"ready":false,"degraded":false,"conditions":[{"code":"breaker-open","subject":"","not_ready":true,"since_ms":9999999999999,"reason":"why"},{"code":"partition-stopped","subject":"in/2","not_ready":false,"since_ms":9999999999999,"reason":"why","hint":"x"}],"held":"h","producer":{"reason":"p","failures":3,"next_in_ms":1200},"topics_gone":["in"],"failed":{"messages":7,"last":{"topic":"in","partition":2,"offset":4,"class":"rejected","reason":"no","at_ms":1000}},"outputs_in_flight":3,"members":[{"member":0,"state":"polling","joined":true,"partitions":1,"commit_error":null,"commit_failures":0,"silent_ms":4}],"lanes":[{"lane":1,"partitions":1,"memory_bytes":65536,"recycled":0,"trouble":null}],"partitions":[{"topic":"in","partition":2,"member":0,"lane":1,"generation":1,"state":"stopped","position":5,"watermark":4,"committed":4,"end":null,"lag":null,"span_messages":1,"span_bytes":10,"failed_messages":7,"offset":4,"reason":"given up"}]}]}"#;

    #[test]
    fn a_state_is_sent_in_the_word_that_people_see_and_read_again() {
        for state in State::ALL {
            let sent = PartitionState::from(state);
            assert_eq!(sent.to_string(), state.as_str());
            assert_eq!(serde_json::to_value(&sent).expect("plain data"), state.as_str());
            assert_eq!(serde_json::from_value::<PartitionState>(state.as_str().into()).expect("a word"), sent);
        }
        for trial in [Trial::Canary, Trial::Shadow, Trial::Watch] {
            assert_eq!(serde_json::to_value(&trial).expect("plain data"), trial.as_str());
        }
    }

    #[test]
    fn a_status_is_sent_as_pinned_and_read_again() {
        assert_eq!(serde_json::to_string(&status()).expect("plain data"), STATUS);
        let read: Status = serde_json::from_str(STATUS).expect("a status");
        assert_eq!(serde_json::to_string(&read).expect("plain data"), STATUS);
    }

    #[test]
    fn a_status_of_a_later_version_is_read_without_what_is_not_known() {
        let later = STATUS
            .replace("{\"", "{\"of a later version\":[{}],\"")
            .replace("\"stopped\"", "\"draining\"")
            .replace("\"shadow\"", "\"mirror\"");
        let read: Status = serde_json::from_str(&later).expect("a status");
        let pipeline = &read.pipelines[0];
        assert_eq!(pipeline.work.partitions[0].state, PartitionState::Other("draining".to_owned()));
        assert_eq!(pipeline.trial.as_ref().map(|trial| trial.rollout.as_str()), Some("mirror"));
        let now = STATUS.replace("\"stopped\"", "\"draining\"").replace("\"shadow\"", "\"mirror\"");
        assert_eq!(serde_json::to_string(&read).expect("plain data"), now);
    }

    #[test]
    fn a_status_without_what_may_be_missing_is_read() {
        let mut text = STATUS.to_owned();
        for field in [
            r#""share":null,"#,
            r#","differing":3"#,
            r#","drift":{"configured":"a","other":"b","reason":"r","cause":"swap"}"#,
            r#","control":{"process":"p","epoch":3,"agreed":4}"#,
            r#","held":"h""#,
            r#","producer":{"reason":"p","failures":3,"next_in_ms":1200}"#,
            r#","commit_error":null"#,
            r#","trouble":null"#,
            r#","lane":1,"generation":1"#,
            r#","committed":4,"end":null,"lag":null"#,
            r#","offset":4,"reason":"given up""#,
        ] {
            let kept = if field.contains("generation") { r#","generation":1"# } else { "" };
            assert!(text.contains(field), "{field} is not in\n{text}");
            text = text.replace(field, kept);
        }
        let read: Status = serde_json::from_str(&text).expect("a status");
        assert!(read.pipelines[0].drift.is_none() && read.pipelines[0].work.partitions[0].lane.is_none());
    }
}
