//! Reload.

use serde::{Deserialize, Serialize};
use wasmill_deploy::swap::answer;

/// Where a reload is sent.
pub const PATH: &str = "/api/v1/reload";

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether the process now is what the file says.
    pub applied: bool,
    /// Every pipeline that runs or ran: those of the file in its order, then those that were removed.
    pub pipelines: Vec<Row>,
    /// Keys outside the pipelines that changed; only a new process takes them up.
    pub process: Vec<String>,
}

/// A pipeline in the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub pipeline: String,
    /// What became of it.
    pub done: Done,
    /// The keys that changed; of one that was not applied, those that forbid it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// What to do, or what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a swap: where it took effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<answer::Outcome>,
}

impl Row {
    /// Nothing to say but this.
    pub fn new(pipeline: &str, done: Done) -> Self {
        Self { pipeline: pipeline.to_owned(), done, keys: Vec::new(), reason: None, swap: None }
    }
}

/// What became of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// Nothing was to be done, and nothing was.
    Unchanged,
    /// It runs, and did not before.
    Started,
    /// It drained, left its group and is gone.
    Removed,
    /// It goes on with another handler or other settings.
    Swapped,
    /// It drained, left its group and started again: a file with a certificate or a key was replaced.
    Restarted,
    /// The file asks for what a running pipeline cannot take up. It goes on as before, in everything.
    NotApplied,
    /// It passed all gates, and something happened to it all the same.
    Failed,
    /// A word of a later version.
    #[serde(untagged)]
    Other(String),
}

impl Done {
    /// For people.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Started => "started",
            Self::Removed => "removed",
            Self::Swapped => "swapped",
            Self::Restarted => "restarted",
            Self::NotApplied => "not applied",
            Self::Failed => "failed",
            Self::Other(word) => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::swap::tests::{OUTCOME, outcome};
    use crate::api::tests::round_trip;

    #[test]
    fn a_reload_is_answered_as_pinned() {
        let texts = |text: &str| vec![text.to_owned()];
        let reloaded = Reloaded {
            applied: false,
            pipelines: vec![
                Row::new("a", Done::Unchanged),
                Row { keys: texts("handler"), swap: Some(outcome()), ..Row::new("b", Done::Swapped) },
                Row { keys: texts("members"), reason: Some("no".to_owned()), ..Row::new("c", Done::NotApplied) },
            ],
            process: texts("kafka.bootstrap"),
        };
        round_trip(
            &reloaded,
            &(r#"{"applied":false,"pipelines":[{"done":"unchanged","pipeline":"a"},{"done":"swapped","keys":["handler"],"pipeline":"b","swap":"#
                .to_owned()
                + OUTCOME
                + r#"},{"done":"not-applied","keys":["members"],"pipeline":"c","reason":"no"}],"process":["kafka.bootstrap"]}"#),
        );
        round_trip(&Row::new("a", Done::Restarted), r#"{"done":"restarted","pipeline":"a"}"#);
        round_trip(&Row::new("a", Done::Other("moved".to_owned())), r#"{"done":"moved","pipeline":"a"}"#);
    }
}
