//! Seek.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmill_core::partition::Sought as Moved;

use super::partition::Row;

/// Where a seek is sent.
pub const PATH: &str = "/api/v1/pipelines/{name}/seek";

/// Where to move what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// The partitions of this topic; none: of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// One partition; none: all that the process holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// `earliest`, `latest`, an offset, a time, an age: a text or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// What a seek did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// The partitions that were meant and that this process holds.
    pub sought: Vec<Row<Move>>,
    /// Those that other processes hold, as `topic/number`: they were not moved.
    pub not_here: Vec<String>,
}

/// A partition was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Its watermark before.
    pub from: i64,
    /// Where it goes on.
    pub to: i64,
    /// Messages that were delivered and not complete.
    pub dropped: u64,
}

impl From<Moved> for Move {
    fn from(moved: Moved) -> Self {
        Self { from: moved.from, to: moved.to, dropped: moved.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{round_trip, round_trip_of_request};

    #[test]
    fn a_seek_is_asked_and_answered_as_pinned() {
        round_trip_of_request(&Where::default(), "{}");
        let one = Where { topic: Some("in".to_owned()), partition: Some(2), to: Some("earliest".into()) };
        round_trip_of_request(&one, r#"{"partition":2,"to":"earliest","topic":"in"}"#);
        round_trip_of_request(&Where { to: Some(7.into()), ..Where::default() }, r#"{"to":7}"#);
        let moved = Move { from: 9, to: 4, dropped: 2 };
        let sought = vec![Row::new("in/0", Ok(moved)), Row::new("in/1", Err("no".to_owned()))];
        round_trip(
            &Sought { sought, not_here: vec!["in/2".to_owned()] },
            r#"{"not_here":["in/2"],"sought":[{"dropped":2,"from":9,"partition":"in/0","to":4},{"error":"no","partition":"in/1"}]}"#,
        );
    }
}
