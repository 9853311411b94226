//! Restart.

use serde::{Deserialize, Serialize};

/// Where a restart is sent.
pub const PATH: &str = "/api/v1/pipelines/{name}/restart";

/// What a restart did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    /// The pipeline.
    pub pipeline: String,
    /// Keys of its table that are other ones now.
    pub keys: Vec<String>,
    /// Whether everything that was handed over was settled and committed before it left.
    pub settled: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The partitions that it held, and what was committed of each when it left.
    pub left: Vec<Left>,
    /// Keys outside the pipelines that changed; only a new process takes them up.
    pub process: Vec<String>,
}

/// A partition that was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Topic and number, as in `orders/3`.
    pub partition: String,
    /// What the coordinator last confirmed.
    pub committed: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::round_trip;

    #[test]
    fn a_restart_is_answered_as_pinned() {
        let left = |number: i32, committed| Left { partition: format!("in/{number}"), committed };
        let restarted = Restarted {
            pipeline: "a".to_owned(),
            keys: vec!["members".to_owned()],
            settled: false,
            reason: Some("late".to_owned()),
            left: vec![left(0, Some(7)), left(1, None)],
            process: vec!["kafka.bootstrap".to_owned()],
        };
        round_trip(
            &restarted,
            r#"{"keys":["members"],"left":[{"committed":7,"partition":"in/0"},{"committed":null,"partition":"in/1"}],"pipeline":"a","process":["kafka.bootstrap"],"reason":"late","settled":false}"#,
        );
    }
}
