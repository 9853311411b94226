//! Resume, pause and skip.

use serde::{Deserialize, Serialize};

use super::partition::Row;

/// Where a resume is sent.
pub const RESUME: &str = "/api/v1/pipelines/{name}/resume";
/// Where a pause is sent.
pub const PAUSE: &str = "/api/v1/pipelines/{name}/pause";
/// Where a skip is sent.
pub const SKIP: &str = "/api/v1/pipelines/{name}/skip";

/// The partition that a call is about; none: all of the pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Its topic; may be left out where the pipeline has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// Of a skip: the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
}

/// What a resume did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The partitions that stood.
    pub resumed: Vec<Row<GoesOn>>,
}

/// A partition goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoesOn {
    /// At this offset.
    pub offset: i64,
}

/// What a pause did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The partitions that are paused, as `topic/number`.
    pub paused: Vec<String>,
}

/// What a skip did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// `topic/number`.
    pub partition: String,
    /// The offset of the message that is passed over.
    pub skipped: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{round_trip, round_trip_of_request};

    #[test]
    fn what_is_asked_of_partitions_is_sent_as_pinned() {
        round_trip_of_request(&Which::default(), "{}");
        let all = Which { topic: Some("in".to_owned()), partition: Some(2), offset: Some(7) };
        round_trip_of_request(&all, r#"{"offset":7,"partition":2,"topic":"in"}"#);
    }

    #[test]
    fn what_was_resumed_paused_or_skipped_is_sent_as_pinned() {
        let resumed = vec![
            Row::new("in/0", Ok(GoesOn { offset: 7 })),
            Row::new("in/1", Err("it was revoked meanwhile".to_owned())),
        ];
        round_trip(
            &Resumed { resumed },
            r#"{"resumed":[{"offset":7,"partition":"in/0"},{"error":"it was revoked meanwhile","partition":"in/1"}]}"#,
        );
        round_trip(&Paused { paused: vec!["in/0".to_owned()] }, r#"{"paused":["in/0"]}"#);
        round_trip(&Skipped { partition: "in/0".to_owned(), skipped: 7 }, r#"{"partition":"in/0","skipped":7}"#);
    }
}
